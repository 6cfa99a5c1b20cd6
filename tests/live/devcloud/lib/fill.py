"""fill.py CONFIG.json TEMPLATE-UUID COUNT PREFIX

Copies one real, ACTIVE server COUNT times in the databases of nova, neutron and placement (a real
boot costs 1.5 s of CPU, a copy 5 ms). The copies have their own uuid, name, port, MAC, IP address
and allocation, and take actions like any other once nova-compute has read them back. Runs under
the Debian python.
"""
import json
import sys
import uuid

import pymysql

BY_SERVER = [  # table, the column with the server's uuid
    ('nova.instances', 'uuid'),
    ('nova.instance_extra', 'instance_uuid'),
    ('nova.instance_info_caches', 'instance_uuid'),
    ('nova.instance_system_metadata', 'instance_uuid'),
    ('nova.instance_metadata', 'instance_uuid'),
    ('nova.block_device_mapping', 'instance_uuid'),
    ('nova.virtual_interfaces', 'instance_uuid'),
    ('nova.instance_id_mappings', 'uuid'),
    ('nova.instance_actions', 'instance_uuid'),
    ('nova_api.instance_mappings', 'instance_uuid'),
    ('nova_api.request_specs', 'instance_uuid'),
    ('placement.consumers', 'uuid'),
    ('placement.allocations', 'consumer_id'),
]
BY_PORT = [  # table, the column with the port's id
    ('neutron.ports', 'id'),
    ('neutron.ipallocations', 'port_id'),
    ('neutron.ml2_port_bindings', 'port_id'),
    ('neutron.ml2_port_binding_levels', 'port_id'),
    ('neutron.portsecuritybindings', 'port_id'),
    ('neutron.securitygroupportbindings', 'port_id'),
]
IPAM = ('SELECT a.* FROM neutron.ipamallocations a JOIN neutron.ipamsubnets s '
        'ON s.id=a.ipam_subnet_id WHERE s.neutron_subnet_id=%s AND a.ip_address=%s')


class Database:
    def __init__(self, conf):
        self.db = pymysql.connect(
            host=conf['db_host'], port=conf['db_port'], user='openstack', password=conf['pw'],
            charset='utf8', cursorclass=pymysql.cursors.DictCursor, autocommit=False)
        self.cur = self.db.cursor()

    def rows(self, sql, *args):
        self.cur.execute(sql, args)
        return list(self.cur.fetchall())

    def column(self, sql, *args):
        return [next(iter(row.values())) for row in self.rows(sql, *args)]

    def insert(self, table, rows):
        if not rows:
            return
        names = list(rows[0])
        columns, marks = ','.join(f'`{n}`' for n in names), ','.join(['%s'] * len(names))
        sql = f'INSERT INTO {table} ({columns}) VALUES ({marks})'
        self.cur.executemany(sql, [[row[n] for n in names] for row in rows])


class Template:
    """Every row of the server that is copied."""

    def __init__(self, db, server_id):
        self.id = server_id
        self.server = db.rows(
            'SELECT * FROM nova.instances WHERE uuid=%s AND deleted=0', server_id)[0]
        self.port = db.rows('SELECT * FROM neutron.ports WHERE device_id=%s', server_id)[0]
        address = db.rows(
            'SELECT * FROM neutron.ipallocations WHERE port_id=%s', self.port['id'])[0]
        self.ip = address['ip_address']
        self.standard = db.rows('SELECT * FROM neutron.standardattributes WHERE id=%s',
                                self.port['standard_attr_id'])[0]
        self.tables = {}
        for tables, key in ((BY_SERVER, server_id), (BY_PORT, self.port['id'])):
            for table, column in tables:
                self.tables[table] = db.rows(f'SELECT * FROM {table} WHERE {column}=%s', key)
        self.tables['neutron.ipamallocations'] = db.rows(IPAM, address['subnet_id'], self.ip)


def free_ips(db, template):
    used = set(db.column('SELECT ip_address FROM neutron.ipallocations WHERE network_id=%s',
                         template.port['network_id']))
    a, b = template.ip.split('.')[:2]
    for n in range(192 * 250):
        ip = f'{a}.{b}.{64 + n // 250}.{1 + n % 250}'
        if ip not in used:
            yield ip
    sys.exit('fill: the network has no free address left')


def free_macs(db):
    used = set(db.column('SELECT mac_address FROM neutron.ports'))
    while True:
        h = uuid.uuid4().hex
        mac = f'fa:16:3e:{h[:2]}:{h[2:4]}:{h[4:6]}'
        if mac not in used:
            used.add(mac)
            yield mac


class Copy:
    """The values in which one copy differs from its template."""

    def __init__(self, template, name, host, ip, mac):
        port, old = template.port['id'], template.server
        self.host = host
        self.reservation = 'r-' + uuid.uuid4().hex[:8]
        new_id, new_port = str(uuid.uuid4()), str(uuid.uuid4())
        # whole values of columns, and parts of them (inside JSON)
        self.whole = {template.id: new_id, port: new_port, template.ip: ip,
                      old['display_name']: name, old['hostname']: name}
        self.parts = [(template.id, new_id), (port, new_port),
                      (template.port['mac_address'], mac),
                      ('tap' + port[:11], 'tap' + new_port[:11]),
                      (f'"{template.ip}"', f'"{ip}"')]

    def value(self, column, value, hosts):
        if not isinstance(value, str):
            return value
        if column in ('host', 'node', 'launched_on') and value in hosts:
            return self.host
        if value in self.whole:
            return self.whole[value]
        if len(value) > 10:
            for old, new in self.parts:
                value = value.replace(old, new)
        return value

    def row(self, table, row, hosts, providers, standard_id):
        new = {column: self.value(column, value, hosts) for column, value in row.items()}
        if isinstance(new.get('id'), int):
            del new['id']       # a counter of the database
        if table == 'nova.instances':
            new['reservation_id'] = self.reservation
        elif table == 'nova.block_device_mapping':
            new['uuid'] = str(uuid.uuid4())
        elif table == 'neutron.ports':
            new['standard_attr_id'] = standard_id
        elif table == 'placement.allocations':
            new['resource_provider_id'] = providers[self.host]
        return new


def main(path, server_id, count, prefix):
    with open(path) as f:
        db = Database(json.load(f))
    template = Template(db, server_id)
    hosts = db.column('SELECT host FROM nova.compute_nodes WHERE deleted=0 ORDER BY host')
    providers = {r['name']: r['id']
                 for r in db.rows('SELECT id, name FROM placement.resource_providers')}
    first_id = db.column('SELECT MAX(id) FROM neutron.standardattributes')[0] + 1
    ips, macs = free_ips(db, template), free_macs(db)
    standards, out = [], {table: [] for table in template.tables}
    for n in range(count):
        copy = Copy(template, f'{prefix}-{n + 1:04d}', hosts[(n + 1) % len(hosts)],
                    next(ips), next(macs))
        standards.append(dict(template.standard, id=first_id + n))
        for table, rows in template.tables.items():
            out[table] += [copy.row(table, row, hosts, providers, first_id + n) for row in rows]
    db.insert('neutron.standardattributes', standards)
    for table, rows in out.items():
        db.insert(table, rows)
    db.db.commit()
    print(f'{count} copies')


if __name__ == '__main__':
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4])
