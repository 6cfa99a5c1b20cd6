// The life of a VM through a generated client; each client implements `Client` with its own types.
import assert from "node:assert/strict";

export const baseUrl = process.env.VMAPI_URL ?? "";
export const authorization = { Authorization: `Bearer ${process.env.VMAPI_TOKEN}` };
export const wait = { Prefer: "wait=30" };

export interface VM {
  id: string;
  name: string;
  status: "BUILDING" | "STOPPED" | "RUNNING" | "PAUSED" | "ERROR" | "DELETED";
  task: string | null;
  metadata: { [key: string]: string };
}

export type Action = "start" | "stop" | "restart" | "pause" | "resume";

export interface Client {
  create(name: string): Promise<VM>;
  list(name: string): Promise<VM[]>;
  get(id: string): Promise<VM>;
  act(id: string, action: Action): Promise<VM>;
  update(id: string, metadata: { [key: string]: string | null }): Promise<VM>;
  bulkDelete(ids: string[]): Promise<string[]>;
  delete(id: string): Promise<void>;
  problemOf(id: string): Promise<string>;
}

// Return the body of a response. Throws an error without one.
export function bodyOf<T>(data: T | undefined, error: unknown): T {
  assert.equal(error, undefined);
  assert.ok(data !== undefined);
  return data;
}

export async function runLifecycle(client: Client): Promise<void> {
  const name = `client-${process.pid}`;
  const created = await client.create(name);
  assert.deepEqual([created.name, created.status, created.task], [name, "STOPPED", null]);
  assert.deepEqual((await client.list(`${name}*`)).map((vm) => vm.id), [created.id]);
  assert.deepEqual((await client.get(created.id)).metadata, { env: "test" });
  const statuses = [];
  for (const action of ["start", "pause", "resume", "restart", "stop"] as const) {
    statuses.push((await client.act(created.id, action)).status);
  }
  assert.deepEqual(statuses, ["RUNNING", "PAUSED", "RUNNING", "RUNNING", "STOPPED"]);
  const updated = await client.update(created.id, { env: null, owner: "me" });
  assert.deepEqual(updated.metadata, { owner: "me" });
  await client.delete(created.id);
  assert.equal(await client.problemOf(created.id), "vm_not_found");
  const other = await client.create(`${name}-b`);
  assert.deepEqual(await client.bulkDelete([other.id]), ["delete"]);
}
