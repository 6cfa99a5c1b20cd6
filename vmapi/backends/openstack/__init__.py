"""The OpenStack driver: raw JSON from Nova, Glance and Neutron.

============================  ======================================================
module                        concern
============================  ======================================================
`driver`                      the methods of the driver contract
`server_queries`              reads of servers
`server_commands`             create, update and delete of servers
`server_actions`              the request of each action; how to read a record of one
`action_records`              Nova's records of actions, also where a policy hides them
`mapping`                     a server of Nova as a `VM`
`error_messages`              a message of Nova as an error of vmapi
`errors`                      a failed request as an error of vmapi
`session`                     one connection: requests, retries, re-authentication
============================  ======================================================
"""
