"""boot.py NAME: boots one small server of demo, waits until it is ACTIVE, prints its id."""
import sys

import openstack

conn = openstack.connect(cloud='devcloud')
server = conn.compute.create_server(
    name=sys.argv[1],
    flavor_id=conn.compute.find_flavor('m1.tiny').id,
    image_id=conn.image.find_image('debian-12').id,
    networks=[{'uuid': conn.network.find_network('private').id}])
print(conn.compute.wait_for_server(server, wait=120).id)
