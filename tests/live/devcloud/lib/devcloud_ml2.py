"""The ML2 mechanism driver of neutron that stands in for a network agent."""
from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class DevcloudMechanismDriver(api.MechanismDriver):
    """Binds any port on any host and reports it ACTIVE at once."""

    def initialize(self):
        pass

    @property
    def connectivity(self):
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context):
        for segment in context.segments_to_bind:
            context.set_binding(
                segment[api.ID], portbindings.VIF_TYPE_OVS,
                {portbindings.CAP_PORT_FILTER: True,
                 portbindings.OVS_HYBRID_PLUG: False,
                 'connectivity': portbindings.CONNECTIVITY_L2,
                 'bridge_name': 'br-int', 'datapath_type': 'system'},
                status=constants.PORT_STATUS_ACTIVE)
            return
