# shellcheck shell=bash
# shellcheck disable=SC2034  # many of these are read by the other files and by the templates in etc/
# settings.sh: every setting and the few helpers that all the other files use.

ROOT=${DEVCLOUD_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/devcloud}
STATE=${DEVCLOUD_STATE:-$ROOT/state}
VENV=${DEVCLOUD_VENV:-$ROOT/venv}
CLOUDS=${DEVCLOUD_CLOUDS:-$ROOT/clouds.yaml}
HOSTS=${DEVCLOUD_HOSTS:-2}
VIRT=${DEVCLOUD_VIRT:-devcloud.DevcloudDriver}
TIMEOUT=${DEVCLOUD_TIMEOUT:-180}
PLUGINS=${DEVCLOUD_NEUTRON_PLUGINS-router}
DOWN_TIME=${DEVCLOUD_SERVICE_DOWN_TIME:-60}
export DEVCLOUD_SPAWN_DELAY=${DEVCLOUD_SPAWN_DELAY:-0}

DB_PORT=${DEVCLOUD_DB_PORT:-3306}
MQ_PORT=${DEVCLOUD_MQ_PORT:-5672}
MQ_DIST_PORT=${DEVCLOUD_MQ_DIST_PORT:-25672}
EPMD_PORT=${DEVCLOUD_EPMD_PORT:-4369}
MC_PORT=${DEVCLOUD_MC_PORT:-11211}
KS_PORT=${DEVCLOUD_KEYSTONE_PORT:-5000}
GL_PORT=${DEVCLOUD_GLANCE_PORT:-9292}
PL_PORT=${DEVCLOUD_PLACEMENT_PORT:-8778}
NE_PORT=${DEVCLOUD_NEUTRON_PORT:-9696}
NO_PORT=${DEVCLOUD_NOVA_PORT:-8774}

ADDR=127.0.0.1
PW=devcloud                  # every internal password; nothing listens outside loopback
ADMIN_PW='admin'
DEMO_PW='demo'
REGION=RegionOne
PY=/usr/bin/python3          # the Debian python: the OpenStack packages live there
SEED_PY=${DEVCLOUD_PYTHON:-$VENV/bin/python}   # the python with openstacksdk

ETC=$STATE/etc LOG=$STATE/log RUN=$STATE/run LIB=$STATE/lib SNAP=$STATE/snap
SOCK=$RUN/mysql.sock
MQ_URL="rabbit://openstack:$PW@$ADDR:$MQ_PORT/"
KS_URL="http://$ADDR:$KS_PORT/v3"
DB_URL="mysql+pymysql://openstack:$PW@$ADDR:$DB_PORT"
DB_OPTS="charset=utf8"
DATABASES="keystone glance placement neutron nova_api nova nova_cell0"

computes() { local i; for i in $(seq 1 "$HOSTS"); do echo "nova-compute-$i"; done; }
INFRA="mariadb epmd rabbitmq memcached"
OPENSTACK="keystone glance placement neutron nova-conductor nova-scheduler nova-api $(computes | tr '\n' ' ')"
ALL="$INFRA $OPENSTACK"

port_of() {
  case $1 in
    mariadb) echo "$DB_PORT" ;;
    epmd) echo "$EPMD_PORT" ;;
    rabbitmq) echo "$MQ_PORT" ;;
    memcached) echo "$MC_PORT" ;;
    keystone) echo "$KS_PORT" ;;
    glance) echo "$GL_PORT" ;;
    placement) echo "$PL_PORT" ;;
    neutron) echo "$NE_PORT" ;;
    nova-api) echo "$NO_PORT" ;;
  esac
}

say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }
die() { printf 'devcloud: ERROR: %s\n' "$*" >&2; exit 1; }

# die_log FILE MESSAGE: the end of a log, then die
die_log() { tail -n 25 "$1" >&2; shift; die "$*"; }

# the children must not inherit settings of the caller's shell
clean_env() {
  unset PYTHONHOME VIRTUAL_ENV OS_CLOUD OS_CLIENT_CONFIG_FILE \
    http_proxy https_proxy HTTP_PROXY HTTPS_PROXY ALL_PROXY all_proxy
  export PYTHONPATH=$LIB PYTHONDONTWRITEBYTECODE='' LC_ALL=C.UTF-8 no_proxy='*' MALLOC_ARENA_MAX=2
}
