// The fetch client of orval. Each response is a union, discriminated by its status.
import assert from "node:assert/strict";
import * as api from "./generated/orval/api";
import { authorization, runLifecycle, wait } from "./lifecycle";

const options = { headers: { ...authorization, ...wait } };
const actions = {
  start: (id: string) => api.startVm(id, options),
  stop: (id: string) => api.stopVm(id, options),
  restart: (id: string) => api.restartVm(id, {}, options),
  pause: (id: string) => api.pauseVm(id, options),
  resume: (id: string) => api.resumeVm(id, options),
};

runLifecycle({
  async create(name) {
    const body = { name, flavor: "m1.tiny", image: "cirros", metadata: { env: "test" } };
    const response = await api.createVm(body, options);
    assert.ok(response.status === 201);
    return response.data;
  },
  async list(name) {
    const response = await api.listVms(
      { name, status: [api.VMStatus.STOPPED], sort: "-created_at" },
      options,
    );
    assert.ok(response.status === 200);
    return response.data.items;
  },
  async get(id) {
    const response = await api.getVm(id, options);
    assert.ok(response.status === 200);
    return response.data;
  },
  async act(id, action) {
    const response = await actions[action](id);
    assert.ok(response.status === 200);
    return response.data;
  },
  async update(id, metadata) {
    const response = await api.updateVm(id, { metadata }, options);
    assert.ok(response.status === 200);
    return response.data;
  },
  async bulkDelete(ids) {
    const response = await api.actOnVms({ action: "delete", ids }, options);
    assert.ok(response.status === 200);
    return response.data.items.map((item) =>
      "operation" in item ? item.operation.action : item.error.code,
    );
  },
  async delete(id) {
    assert.equal((await api.deleteVm(id, options)).status, 204);
  },
  async problemOf(id) {
    const response = await api.getVm(id, options);
    assert.ok(response.status === 404);
    return response.data.code;
  },
});
