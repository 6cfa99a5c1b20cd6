# shellcheck shell=bash
# updown.sh: the whole cloud up and down, and what is in it at first.

with_sdk() { # with_sdk FILE ARGS...   a file of lib/ that talks to the cloud through openstacksdk
  local file=$1
  shift
  (
    unset PYTHONPATH
    export no_proxy='*' OS_CLIENT_CONFIG_FILE=$CLOUDS DC_PW=$PW DC_DEMO_PW=$DEMO_PW DC_REGION=$REGION \
      DC_GLANCE=http://$ADDR:$GL_PORT DC_PLACEMENT=http://$ADDR:$PL_PORT DC_NEUTRON=http://$ADDR:$NE_PORT \
      DC_NOVA=http://$ADDR:$NO_PORT/v2.1
    exec "$SEED_PY" "$LIB/$file" "$@"
  ) 2>>"$LOG/seed.log"
}

seed() { # seed services|content
  with_sdk seed.py "$1" >>"$LOG/seed.log" || die_log "$LOG/seed.log" "seeding ($1) failed, see $LOG/seed.log"
}

cmd_seed() {
  write_lib
  seed content
  say "flavors, images, network, quotas: seeded"
}

cmd_up() {
  local n
  { [ -e "$STATE/.schemas" ] && has_sdk; } || die "not installed: run '$SELF install' first"
  write_files
  for n in $INFRA; do start_one "$n"; done
  for n in $INFRA; do wait_infra "$n" 60; done
  say "infrastructure: up"
  start_one keystone
  # these do not need the catalog in order to start; the nova daemons do: they look for
  # placement as they start, and exit when keystone refuses them
  for n in placement glance neutron; do start_one $n; done
  wait_healthy keystone placement
  if [ ! -e "$STATE/.seeded-services" ]; then
    seed services
    touch "$STATE/.seeded-services"
    say "users, services, endpoints: seeded"
  fi
  for n in nova-conductor nova-scheduler nova-api; do start_one $n; done
  # a compute which finds no conductor waits for 10 s at a time
  wait_healthy nova-conductor
  for n in $(computes); do start_one "$n"; done
  wait_healthy
  say "every service answers"
  if [ ! -e "$STATE/.seeded" ]; then
    nova_manage cell_v2 discover_hosts || die "discover_hosts failed"
    cmd_seed
    touch "$STATE/.seeded"
  fi
  [ -e "$SNAP/pristine/dbs.sql" ] || cmd_snapshot pristine
  say "up: $KS_URL  (clouds.yaml: $CLOUDS)"
}

cmd_down() {
  local n running=()
  # by pid file, since it may have been started with more hosts
  for n in "$RUN"/nova-compute-*.pid; do
    [ -e "$n" ] && running+=("$(basename "$n" .pid)")
  done
  stop_many 20 "${running[@]}" keystone glance placement neutron nova-conductor nova-scheduler nova-api
  stop_many 20 memcached rabbitmq
  stop_many 30 mariadb epmd
  say "down"
}
