"""The OpenStack driver: raw JSON from Nova, Glance and Neutron.

============  =====================================================================
part          concern
============  =====================================================================
`driver`      the methods of the driver contract
`servers`     reads, changes and actions of servers; a server of Nova as a `VM`
`catalog`     flavors, images and networks, with the projects that may use each
`projects`    the projects in which vmapi creates and lists VMs
`quota`       the limits of Nova's own quota
`connection`  one connection: requests, deadlines, retries, pages, re-authentication
`failures`    a failed request, or a message of Nova, as an error of vmapi
============  =====================================================================
"""
