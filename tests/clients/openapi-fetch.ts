// The types of openapi-typescript, used by openapi-fetch.
import createClient from "openapi-fetch";
import type { components, paths } from "./generated/openapi-typescript/schema";
import { authorization, baseUrl, bodyOf, runLifecycle, wait } from "./lifecycle";

const client = createClient<paths>({ baseUrl, headers: authorization });
const path = (vm_id: string) => ({ params: { path: { vm_id }, header: wait } });
const body: components["schemas"]["CreateVM"] = {
  name: "",
  flavor: "m1.tiny",
  image: "cirros",
  metadata: { env: "test" },
};

runLifecycle({
  async create(name) {
    const { data, error } = await client.POST("/api/v1/vms", {
      body: { ...body, name },
      params: { header: wait },
    });
    return bodyOf(data, error);
  },
  async list(name) {
    const query = { name, status: ["STOPPED" as const], sort: "-created_at" as const };
    const { data, error } = await client.GET("/api/v1/vms", { params: { query } });
    return bodyOf(data, error).items;
  },
  async get(id) {
    const { data, error } = await client.GET("/api/v1/vms/{vm_id}", {
      params: { path: { vm_id: id } },
    });
    return bodyOf(data, error);
  },
  async act(id, action) {
    const { data, error } = await client.POST(`/api/v1/vms/{vm_id}/${action}`, path(id));
    return bodyOf(data, error);
  },
  async update(id, metadata) {
    const options = { ...path(id), body: { metadata } };
    const { data, error } = await client.PATCH("/api/v1/vms/{vm_id}", options);
    return bodyOf(data, error);
  },
  async bulkDelete(ids) {
    const { data, error } = await client.POST("/api/v1/vms/actions", {
      body: { action: "delete", ids },
      params: { header: wait },
    });
    return bodyOf(data, error).items.map((item) =>
      "operation" in item ? item.operation.action : item.error.code,
    );
  },
  async delete(id) {
    const { error } = await client.DELETE("/api/v1/vms/{vm_id}", path(id));
    bodyOf(null, error);
  },
  async problemOf(id) {
    const { error } = await client.GET("/api/v1/vms/{vm_id}", {
      params: { path: { vm_id: id } },
    });
    return error?.code ?? "";
  },
});
