"""seed.py services|content: what is in the cloud at first. Adds only what is missing."""
import os
import sys

import openstack

DOMAIN = 'default'
SERVICES = [  # user, type, environment variable with the URL
    ('glance', 'image', 'DC_GLANCE'),
    ('placement', 'placement', 'DC_PLACEMENT'),
    ('neutron', 'network', 'DC_NEUTRON'),
    ('nova', 'compute', 'DC_NOVA'),
]
FLAVORS = [  # name, id, cpus, MB of memory, GB of disk
    ('m1.tiny', '1', 1, 512, 1),
    ('m1.small', '2', 1, 2048, 2),
    ('m1.medium', '3', 2, 4096, 4),
    ('m1.large', '4', 4, 8192, 8),
    ('m1.xlarge', '5', 8, 16384, 16),
]
IMAGES = [  # name, distribution, version
    ('ubuntu-22.04', 'ubuntu', '22.04'),
    ('ubuntu-24.04', 'ubuntu', '24.04'),
    ('debian-12', 'debian', '12'),
    ('cirros', 'cirros', '0.6.2'),
]
COMPUTE_QUOTA = {
    'instances': 5000, 'cores': -1, 'ram': -1, 'key_pairs': 1000, 'metadata_items': 128,
    'server_groups': 1000, 'server_group_members': 1000, 'force': True,
}
NETWORK_QUOTA = {
    'ports': -1, 'networks': 1000, 'subnets': 1000, 'routers': 1000, 'floating_ips': 1000,
    'security_groups': 1000, 'security_group_rules': 10000,
}


def project(idn, name):
    return (idn.find_project(name, domain_id=DOMAIN)
            or idn.create_project(name=name, domain_id=DOMAIN))


def user(idn, name, password, home, role):
    user = idn.find_user(name, domain_id=DOMAIN) or idn.create_user(
        name=name, password=password, domain_id=DOMAIN, default_project_id=home.id)
    idn.assign_project_role_to_user(home, user, idn.find_role(role))


def endpoints(idn, name, kind, url):
    service = (next(iter(idn.services(type=kind)), None)
               or idn.create_service(name=name, type=kind))
    have = {e.interface: e for e in idn.endpoints(service_id=service.id)}
    for interface in ('public', 'internal', 'admin'):
        if interface not in have:
            idn.create_endpoint(service_id=service.id, interface=interface, url=url,
                                region_id=os.environ['DC_REGION'])
        elif have[interface].url != url:
            idn.update_endpoint(have[interface], url=url)


def services(conn):
    idn = conn.identity
    home = project(idn, 'service')
    for name, kind, variable in SERVICES:
        user(idn, name, os.environ['DC_PW'], home, 'admin')
        endpoints(idn, name, kind, os.environ[variable])
    user(idn, 'demo', os.environ['DC_DEMO_PW'], project(idn, 'demo'), 'member')


def flavors(conn):
    have = {f.name for f in conn.compute.flavors()}
    for name, fid, cpus, ram, disk in FLAVORS:
        if name not in have:
            conn.compute.create_flavor(name=name, id=fid, vcpus=cpus, ram=ram, disk=disk,
                                       is_public=True)


def images(conn):
    names = {name for name, _, _ in IMAGES}
    have = set()
    for image in conn.image.images(visibility='public'):
        if image.status == 'active':
            have.add(image.name)
        elif image.name in names:
            conn.image.delete_image(image)      # left by an interrupted seeding
    for name, distro, version in IMAGES:
        if name not in have:
            conn.image.create_image(
                name=name, data=b'devcloud image ' + name.encode(), disk_format='raw',
                container_format='bare', visibility='public', wait=True, min_disk=1, min_ram=256,
                os_distro=distro, os_version=version, validate_checksum=False)


def network(conn, owner):
    net = next(iter(conn.network.networks(name='private', project_id=owner.id)), None)
    if net is None:
        net = conn.network.create_network(name='private', project_id=owner.id)
    if next(iter(conn.network.subnets(name='private-subnet', network_id=net.id)), None) is None:
        conn.network.create_subnet(
            name='private-subnet', network_id=net.id, project_id=owner.id, ip_version=4,
            cidr='10.10.0.0/16', gateway_ip='10.10.0.1', enable_dhcp=True,
            dns_nameservers=['9.9.9.9'])


def quotas(conn, owner):
    answer = conn.compute.put(f'/os-quota-sets/{owner.id}', json={'quota_set': COMPUTE_QUOTA})
    answer.raise_for_status()
    conn.network.update_quota(owner.id, **NETWORK_QUOTA)


def content(conn):
    demo = conn.identity.find_project('demo')
    flavors(conn)
    images(conn)
    network(conn, demo)
    quotas(conn, demo)


if __name__ == '__main__':
    {'services': services, 'content': content}[sys.argv[1]](
        openstack.connect(cloud='devcloud-admin'))
