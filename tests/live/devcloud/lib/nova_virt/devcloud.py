"""nova.virt.devcloud: fake.FakeDriver, with what a control-plane test misses in it.

* pause/suspend/resume change the power state (the stock driver leaves RUNNING)
* guests survive a restart of nova-compute, as they do on a real hypervisor
  (the stock driver forgets them; then stop/start/snapshot fail)
* a snapshot uploads a few bytes, so that its image becomes active
* the console names the instance
* DEVCLOUD_SPAWN_DELAY=seconds; server metadata devcloud_fail=spawn makes the boot fail,
  devcloud_delay=seconds makes it slow
"""
import io
import os
import time

from nova import context as nova_context
from nova import exception, objects
from nova.compute import power_state, task_states, vm_states
from nova.image import glance
from nova.scheduler.client import report
from nova.virt import fake
from oslo_log import log as logging

LOG = logging.getLogger(__name__)
DELAY = float(os.environ.get('DEVCLOUD_SPAWN_DELAY') or 0)
POWER = {
    vm_states.ACTIVE: power_state.RUNNING,
    vm_states.RESIZED: power_state.RUNNING,
    vm_states.RESCUED: power_state.RUNNING,
    vm_states.PAUSED: power_state.PAUSED,
    vm_states.SUSPENDED: power_state.SUSPENDED,
    vm_states.STOPPED: power_state.SHUTDOWN,
    vm_states.SHELVED: power_state.SHUTDOWN,
    vm_states.SOFT_DELETED: power_state.SHUTDOWN,
}


# Zed: each claim on a host asks placement for the allocations of every instance of that
# host, one GET per instance (ResourceTracker._update_to_placement): N^2 requests for N boots,
# 5050 for one POST with max_count=100. Their answer serves only a reshape (PCI, vGPU), which
# the fake drivers never do.
report.SchedulerReportClient.get_allocations_for_provider_tree = lambda self, ctx, node: {}


class DevcloudDriver(fake.FakeDriver):
    capabilities = dict(fake.FakeDriver.capabilities)

    def init_host(self, host):
        super().init_host(host)
        try:
            instances = objects.InstanceList.get_by_host(
                nova_context.get_admin_context(), host, expected_attrs=['flavor'])
        except Exception:
            LOG.exception('cannot read back the instances of %s', host)
            return
        for inst in instances:
            state = POWER.get(inst.vm_state)
            if inst.vm_state == vm_states.ERROR and inst.launched_at:
                state = power_state.RUNNING
            if state is None:
                continue
            self.instances[inst.uuid] = fake.FakeInstance(inst.name, state, inst.uuid)
            self.resources.claim(vcpus=inst.flavor.vcpus, mem=inst.flavor.memory_mb,
                                 disk=inst.flavor.root_gb)
        LOG.info('read back %d guests', len(self.instances))

    def _set(self, instance, state):
        if instance.uuid not in self.instances:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        self.instances[instance.uuid].state = state

    def spawn(self, context, instance, *args, **kwargs):
        meta = instance.metadata if 'metadata' in instance else {}
        delay = DELAY
        try:
            delay = float(meta.get('devcloud_delay', DELAY))
        except ValueError:
            pass
        if delay:
            time.sleep(delay)
        if meta.get('devcloud_fail') == 'spawn':
            raise exception.InternalError('devcloud: the boot was told to fail')
        return super().spawn(context, instance, *args, **kwargs)

    def pause(self, instance):
        self._set(instance, power_state.PAUSED)

    def unpause(self, instance):
        self._set(instance, power_state.RUNNING)

    def suspend(self, context, instance):
        self._set(instance, power_state.SUSPENDED)

    def resume(self, context, instance, network_info, block_device_info=None):
        self._set(instance, power_state.RUNNING)

    def rescue(self, context, instance, network_info, image_meta,
               rescue_password, block_device_info):
        self._set(instance, power_state.RUNNING)

    def snapshot(self, context, instance, image_id, update_task_state):
        if instance.uuid not in self.instances:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        api = glance.API()
        image = api.get(context, image_id)
        meta = {'disk_format': image.get('disk_format') or 'raw',
                'container_format': image.get('container_format') or 'bare',
                'name': image['name'],
                'properties': dict(image.get('properties') or {})}
        update_task_state(task_state=task_states.IMAGE_UPLOADING,
                          expected_state=task_states.IMAGE_PENDING_UPLOAD)
        data = io.BytesIO(b'devcloud snapshot of ' + instance.uuid.encode())
        api.update(context, image_id, meta, data, purge_props=False)

    def get_console_output(self, context, instance):
        return ('[    0.000000] Linux version 6.1.0-devcloud\n'
                f'[    0.000001] instance {instance.uuid} ({instance.name})\n'
                '[    2.500000] cloud-init: finished\n'
                f'{instance.hostname} login: ').encode()
