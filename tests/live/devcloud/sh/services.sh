# shellcheck shell=bash
# services.sh: how each service is started, and the commands for one service.

openstack_svc() { # openstack_svc NAME ENTRY CONFIG...   CONFIG is a file in $ETC
  local name=$1 entry=$2 c
  local args=()
  shift 2
  for c in "$@"; do args+=(--config-file "$ETC/$c"); done
  spawn "$name" "$PY" "$LIB/svc.py" "$entry" "${args[@]}"
}

uwsgi_svc() { # uwsgi_svc NAME ENV=VALUE...
  local name=$1
  shift
  spawn "$name" env "$@" /usr/bin/uwsgi --ini "$ETC/uwsgi.ini" \
    --http-socket "$ADDR:$(port_of "$name")" --wsgi-file "$LIB/wsgi_$name.py" --procname-prefix "$name "
}

start_one() { # start_one NAME   nothing when it runs already
  clean_env
  case $1 in
    mariadb)
      spawn mariadb /usr/sbin/mariadbd --no-defaults --user=root --datadir="$STATE/mysql" \
        --socket="$SOCK" --pid-file="$RUN/mariadbd.own" --bind-address="$ADDR" --port="$DB_PORT" \
        --skip-name-resolve --skip-log-bin --performance-schema=OFF --max-connections=600 \
        --innodb-buffer-pool-size=192M --innodb-log-file-size=96M --innodb-flush-log-at-trx-commit=0 \
        --innodb-flush-method=fsync --innodb-doublewrite=0 --innodb-use-native-aio=0 \
        --character-set-server=utf8mb3 --collation-server=utf8mb3_general_ci ;;
    epmd)
      spawn epmd /usr/bin/epmd -address "$ADDR" -port "$EPMD_PORT" ;;
    rabbitmq)
      mkdir -p "$STATE/rabbitmq"
      spawn rabbitmq env HOME="$STATE/rabbitmq" RABBITMQ_NODENAME=devcloud@localhost \
        RABBITMQ_NODE_IP_ADDRESS="$ADDR" RABBITMQ_NODE_PORT="$MQ_PORT" RABBITMQ_DIST_PORT="$MQ_DIST_PORT" \
        RABBITMQ_MNESIA_BASE="$STATE/rabbitmq/mnesia" RABBITMQ_LOG_BASE="$LOG" RABBITMQ_LOGS=- \
        RABBITMQ_CONFIG_FILE="$ETC/rabbitmq" RABBITMQ_ENABLED_PLUGINS_FILE="$ETC/rabbitmq.plugins" \
        RABBITMQ_CONF_ENV_FILE=/dev/null RABBITMQ_PID_FILE="$RUN/rabbitmq.own" \
        ERL_EPMD_ADDRESS="$ADDR" ERL_EPMD_PORT="$EPMD_PORT" \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none" \
        /usr/lib/rabbitmq/bin/rabbitmq-server ;;
    memcached)
      spawn memcached /usr/bin/memcached -u root -l "$ADDR" -p "$MC_PORT" -U 0 -m 64 -t 1 ;;
    keystone)
      uwsgi_svc keystone OS_KEYSTONE_CONFIG_FILES="$ETC/keystone.conf" OS_KEYSTONE_CONFIG_DIR="$ETC" ;;
    placement)
      uwsgi_svc placement OS_PLACEMENT_CONFIG_DIR="$ETC" ;;
    glance)
      openstack_svc glance glance-api glance-api.conf ;;
    neutron)
      openstack_svc neutron neutron-server neutron.conf ml2_conf.ini ;;
    nova-api)
      openstack_svc nova-api nova-api-os-compute nova.conf nova-db.conf ;;
    nova-conductor | nova-scheduler)
      openstack_svc "$1" "$1" nova.conf nova-db.conf ;;
    nova-compute-*)
      openstack_svc "$1" nova-compute nova.conf "$1.conf" ;;
    *)
      die "unknown service '$1' (one of: $ALL)" ;;
  esac
}

known() { case " $ALL " in *" $1 "*) ;; *) die "unknown service '$1' (one of: $ALL)" ;; esac; }

cmd_start() {
  known "$1"
  start_one "$1"
  case " $INFRA " in
    *" $1 "*) wait_infra "$1" 60 ;;
    *) wait_healthy "$1" ;;
  esac
  say "$1 up"
}

cmd_stop() {
  known "$1"
  stop_many 20 "$1"
  say "$1 stopped"
}

cmd_kill() {
  known "$1"
  alive "$1" || die "$1 is not running"
  reap "$1"
  say "$1 killed"
}
