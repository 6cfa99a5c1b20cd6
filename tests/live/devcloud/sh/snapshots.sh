# shellcheck shell=bash
# snapshots.sh: keep and bring back states of the cloud, fill it with many servers.

cmd_snapshot() { # databases and images; the guests themselves live in the databases
  local d=$SNAP/$1
  alive mariadb || die "snapshot: the cloud is not up"
  rm -rf "$d.new"
  mkdir -p "$d.new"
  # shellcheck disable=SC2086  # a list of names
  mariadb-dump --no-defaults -uroot -S "$SOCK" --single-transaction --databases $DATABASES >"$d.new/dbs.sql" ||
    die "cannot dump the databases"
  cp -a "$STATE/glance/images" "$d.new/images"
  rm -rf "$d"
  mv "$d.new" "$d"
  say "snapshot '$1': done ($(du -sh "$d" | cut -f1))"
}

cmd_restore() {
  local d=$SNAP/$1
  [ -e "$d/dbs.sql" ] || die "no snapshot '$1' in $SNAP (run 'up' once, or 'snapshot $1')"
  cmd_down
  rm -rf "$STATE/mysql" "$STATE/rabbitmq" "$STATE/glance/images"
  cp -a "$d/images" "$STATE/glance/images"
  init_mysql
  sql <"$d/dbs.sql" || die "cannot load $d/dbs.sql"
  say "snapshot '$1': restored"
  cmd_up
}

cmd_reset() {
  cmd_restore pristine
  cmd_seed      # the snapshot may be older than the present seed
}

cmd_fill() { # cmd_fill COUNT PREFIX
  local count=$1 prefix=$2 template n
  local hosts=()
  [[ $count =~ ^[1-9][0-9]*$ ]] || die "fill: '$count' is not a number of servers"
  write_lib
  template=$(with_sdk boot.py "$prefix-0000") || die_log "$LOG/seed.log" "fill: cannot boot the template server"
  (clean_env; exec "$PY" "$LIB/fill.py" "$ETC/health.json" "$template" $((count - 1)) "$prefix") || die "fill: failed"
  # the computes read their guests back as they start
  mapfile -t hosts < <(computes)
  stop_many 20 "${hosts[@]}"
  for n in "${hosts[@]}"; do start_one "$n"; done
  wait_healthy "${hosts[@]}"
  say "fill: $count servers"
}
