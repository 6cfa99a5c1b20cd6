// The client of @hey-api/openapi-ts.
import * as api from "./generated/hey-api";
import { client } from "./generated/hey-api/client.gen";
import { baseUrl, bodyOf, runLifecycle, wait } from "./lifecycle";

client.setConfig({ baseUrl, auth: () => process.env.VMAPI_TOKEN });

const actions = {
  start: api.startVm,
  stop: api.stopVm,
  restart: api.restartVm,
  pause: api.pauseVm,
  resume: api.resumeVm,
};
const path = (vm_id: string) => ({ path: { vm_id }, headers: wait });

runLifecycle({
  async create(name) {
    const body = { name, flavor: "m1.tiny", image: "cirros", metadata: { env: "test" } };
    const { data, error } = await api.createVm({ body, headers: wait });
    return bodyOf(data, error);
  },
  async list(name) {
    const { data, error } = await api.listVms({
      query: { name, status: ["STOPPED"], sort: "-created_at" },
    });
    return bodyOf(data, error).items;
  },
  async get(id) {
    const { data, error } = await api.getVm({ path: { vm_id: id } });
    return bodyOf(data, error);
  },
  async act(id, action) {
    const { data, error } = await actions[action](path(id));
    return bodyOf(data, error);
  },
  async update(id, metadata) {
    const { data, error } = await api.updateVm({ ...path(id), body: { metadata } });
    return bodyOf(data, error);
  },
  async bulkDelete(ids) {
    const body = { action: "delete" as const, ids };
    const { data, error } = await api.actOnVms({ body, headers: wait });
    return bodyOf(data, error).items.map((item) =>
      "operation" in item ? item.operation.action : item.error.code,
    );
  },
  async delete(id) {
    const { error } = await api.deleteVm(path(id));
    bodyOf(null, error);
  },
  async problemOf(id) {
    const { error } = await api.getVm({ path: { vm_id: id } });
    return error?.code ?? "";
  },
});
