"""svc.py NAME [args]: run the console entry point NAME of a Debian python3-* package."""
import importlib
import os
import sys

LIB = os.path.dirname(os.path.abspath(__file__))
ENTRY = {
    'keystone-manage': 'keystone.cmd.manage:main',
    'glance-api': 'glance.cmd.api:main',
    'glance-manage': 'glance.cmd.manage:main',
    'placement-manage': 'placement.cmd.manage:main',
    'neutron-server': 'neutron.cmd.eventlet.server:main',
    'neutron-db-manage': 'neutron.db.migration.cli:main',
    'nova-api-os-compute': 'nova.cmd.api_os_compute:main',
    'nova-conductor': 'nova.cmd.conductor:main',
    'nova-scheduler': 'nova.cmd.scheduler:main',
    'nova-compute': 'nova.cmd.compute:main',
    'nova-manage': 'nova.cmd.manage:main',
}
name = sys.argv[1]
sys.argv = [name] + sys.argv[2:]
if LIB in sys.path[:1]:
    sys.path.pop(0)      # the script's folder; PYTHONPATH brings it back once
module, func = ENTRY[name].split(':')
if name == 'nova-compute':
    import nova.cmd      # noqa  monkey patching comes first
    import nova.virt
    nova.virt.__path__.append(os.path.join(LIB, 'nova_virt'))
sys.exit(getattr(importlib.import_module(module), func)())
