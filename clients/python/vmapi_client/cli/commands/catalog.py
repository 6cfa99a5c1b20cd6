"""`flavor list`, `image list`, `network list` and `quota`."""

import click

from vmapi_client.cli.app import App, command
from vmapi_client.cli.output.formats import OutputFormat
from vmapi_client.cli.output.option import output_option
from vmapi_client.cli.output.render import print_records
from vmapi_client.cli.output.views import FLAVOR_VIEW, IMAGE_VIEW, NETWORK_VIEW, QUOTA_VIEW


@click.group("flavor")
def flavor() -> None:
    """Flavors: the sizes of VMs."""


@click.group("image")
def image() -> None:
    """Images that VMs boot from."""


@click.group("network")
def network() -> None:
    """Networks of VMs."""


@command("list", examples="vmctl flavor list\nvmctl flavor list -o name")
@output_option(FLAVOR_VIEW)
@click.pass_obj
def list_flavors(app: App, /, *, output: OutputFormat) -> None:
    """List flavors, the smallest first."""
    with app.build_client() as client:
        print_records(client.flavors(), FLAVOR_VIEW, output)


@command("list", examples="vmctl image list\nvmctl image list -o wide")
@output_option(IMAGE_VIEW)
@click.pass_obj
def list_images(app: App, /, *, output: OutputFormat) -> None:
    """List images, sorted by name."""
    with app.build_client() as client:
        print_records(client.images(), IMAGE_VIEW, output)


@command("list", examples="vmctl network list")
@output_option(NETWORK_VIEW)
@click.pass_obj
def list_networks(app: App, /, *, output: OutputFormat) -> None:
    """List networks, sorted by name."""
    with app.build_client() as client:
        print_records(client.networks(), NETWORK_VIEW, output)


@command("quota", examples="vmctl quota\nvmctl quota -o json")
@output_option(QUOTA_VIEW)
@click.pass_obj
def show_quota(app: App, /, *, output: OutputFormat) -> None:
    """Show usage and limits of the project."""
    with app.build_client() as client:
        document = client.quota().to_json()
    rows = [{"resource": name, **usage} for name, usage in document.items()]
    print_records(rows, QUOTA_VIEW, output)


flavor.add_command(list_flavors)
image.add_command(list_images)
network.add_command(list_networks)
