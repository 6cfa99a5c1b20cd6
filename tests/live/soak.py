"""The soak: an hour of mixed load with faults, after which each curve has to be flat.

`python -m tests.live.soak --minutes 60` on a simulated Nova; `--cloud openstack` on the cloud of
`OS_CLOUD`. The program samples memory, threads, descriptors, connections, rows and latencies each
10 seconds. `--chart FILE` writes the curves as SVG.
"""

import argparse
from pathlib import Path
from tempfile import mkdtemp

from tests.support.soak.chart import draw_chart
from tests.support.soak.clouds import CLOUDS
from tests.support.soak.run import run_soak


def main() -> None:
    """Run the soak with the options of the command line."""
    parser = argparse.ArgumentParser(prog="tests.live.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--cloud", choices=tuple(CLOUDS), default="simulated")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--chart", type=Path, help="the file for the SVG")
    options = parser.parse_args()
    folder = Path(mkdtemp(prefix="vmapi-soak-"))
    print(f"the logs are in {folder}", flush=True)
    result = run_soak(folder, options.cloud, options.database, options.minutes)
    load = f"{len(result.report.names)} VMs, {sum(result.report.responses.values())} responses"
    title = f"{options.minutes:g} minutes of load on {options.cloud}, {options.database}: {load}"
    print(title, dict(result.report.responses), f"{result.events} events", sep="\n")
    print(f"{len(result.report.cut)} requests without a response, each repeated with success")
    if options.chart:
        options.chart.write_text(draw_chart(title, result.samples))
    result.check_curves()
    print("every curve is flat; nothing was lost, nothing was made twice")


if __name__ == "__main__":
    main()
