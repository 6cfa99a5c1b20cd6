#!/bin/bash
# devcloud.sh - a real OpenStack control plane (Debian 12 packages, Zed) on loopback.
#
#   devcloud.sh install            packages, venv, configs, database schemas (safe to rerun)
#   devcloud.sh up                 start what is not running, wait until healthy, seed once
#   devcloud.sh down               stop only what this script started (by pid)
#   devcloud.sh status             one line per service + health
#   devcloud.sh seed               add what is missing of the flavors, images, network, quotas
#   devcloud.sh reset              back to the freshly seeded state (no servers), running
#   devcloud.sh snapshot NAME      keep the present state (databases, images) under a name
#   devcloud.sh restore NAME       go back to it
#   devcloud.sh fill N [PREFIX]    N ACTIVE servers of demo in seconds: one real boot, the rest are
#                                  copies in the databases (each with its port, IP, allocation)
#   devcloud.sh start|stop|kill SVC   one service (kill = SIGKILL of its process group)
#   devcloud.sh wait [SVC]         wait until every service (or this one) is healthy
#   devcloud.sh env                print shell exports for tests (OS_CLIENT_CONFIG_FILE, ...)
#
# Environment (all optional):
#   DEVCLOUD_ROOT   where venv, clouds.yaml and state live (default ~/.cache/devcloud)
#   DEVCLOUD_STATE  state folder (default $DEVCLOUD_ROOT/state)
#   DEVCLOUD_VENV   venv for seeding (default $DEVCLOUD_ROOT/venv)
#   DEVCLOUD_PYTHON a python that has openstacksdk: seeds with it, no venv is made
#   DEVCLOUD_CLOUDS the clouds.yaml to write (default $DEVCLOUD_ROOT/clouds.yaml)
#   DEVCLOUD_HOSTS  number of nova-compute processes (default 2; resize/migrate need 2)
#   DEVCLOUD_VIRT   virt driver (default devcloud.DevcloudDriver, a subclass of
#                   fake.FakeDriver; set fake.FakeDriver for the stock one)
#   DEVCLOUD_SPAWN_DELAY  seconds that each (fake) spawn takes (default 0)
#   DEVCLOUD_NEUTRON_PLUGINS  neutron service plugins (default router: floating IP API; may be '')
#   DEVCLOUD_SERVICE_DOWN_TIME  seconds without a heartbeat until nova calls a service down (60)
#   DEVCLOUD_TIMEOUT      seconds `up` waits for health (default 180)
#   DEVCLOUD_*_PORT       DB MQ MQ_DIST EPMD MC KEYSTONE GLANCE PLACEMENT NEUTRON NOVA;
#                         defaults in sh/settings.sh
set -u -o pipefail
umask 022

SELF=$(readlink -f "$0")
HERE=$(dirname "$SELF")
# shellcheck source=sh/settings.sh
. "$HERE/sh/settings.sh"
# shellcheck source=sh/processes.sh
. "$HERE/sh/processes.sh"
# shellcheck source=sh/services.sh
. "$HERE/sh/services.sh"
# shellcheck source=sh/health.sh
. "$HERE/sh/health.sh"
# shellcheck source=sh/files.sh
. "$HERE/sh/files.sh"
# shellcheck source=sh/install.sh
. "$HERE/sh/install.sh"
# shellcheck source=sh/updown.sh
. "$HERE/sh/updown.sh"
# shellcheck source=sh/snapshots.sh
. "$HERE/sh/snapshots.sh"

usage() { sed -n '2,/^set -u/p' "$SELF" | sed '$d; s/^# \{0,1\}//'; exit 2; }

# need "$#" N WHAT: at least N arguments after the command
need() { [ "$1" -gt "$2" ] || die "usage: devcloud.sh $3"; }

lock() {
  mkdir -p "$STATE"
  exec 9>"$STATE/.lock"
  flock -w 600 9 || die "another devcloud.sh holds $STATE/.lock"
}

case ${1:-} in
  install)  lock; cmd_install ;;
  up)       lock; cmd_up ;;
  down)     lock; cmd_down ;;
  status)   cmd_status ;;
  seed)     lock; cmd_seed ;;
  reset)    lock; cmd_reset ;;
  snapshot) need $# 1 "snapshot NAME"; lock; cmd_snapshot "$2" ;;
  restore)  need $# 1 "restore NAME"; lock; cmd_restore "$2" ;;
  fill)     need $# 1 "fill COUNT [PREFIX]"; lock; cmd_fill "$2" "${3:-fill}" ;;
  start)    need $# 1 "start SERVICE"; lock; cmd_start "$2" ;;
  stop)     need $# 1 "stop SERVICE"; lock; cmd_stop "$2" ;;
  kill)     need $# 1 "kill SERVICE"; lock; cmd_kill "$2" ;;
  wait)     wait_healthy ${2:+"$2"}; say "healthy" ;;
  env)      printf 'export OS_CLIENT_CONFIG_FILE=%q OS_CLOUD=devcloud\n' "$CLOUDS" ;;
  *)        usage ;;
esac
