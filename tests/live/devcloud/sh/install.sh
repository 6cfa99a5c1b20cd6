# shellcheck shell=bash
# install.sh: packages, the python for seeding, database schemas.

PACKAGES="python3-nova nova-common python3-keystone python3-glance glance-common
 python3-placement python3-neutron neutron-common rabbitmq-server mariadb-server
 memcached uwsgi-core uwsgi-plugin-python3 python3-sqlalchemy-ext python3-venv"

apt_install() {
  apt-get -y --no-install-recommends -o Dpkg::Options::=--force-confold -o DPkg::Options::=--force-unsafe-io \
    -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 install "$@"
}

install_packages() {
  local p made="" missing=()
  for p in $PACKAGES; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null)" = installed ] || missing+=("$p")
  done
  [ ${#missing[@]} = 0 ] && { say "packages: all there"; return 0; }
  [ "$(id -u)" = 0 ] || die "installing packages needs root: ${missing[*]}"
  say "packages: installing ${missing[*]}"
  # the packages must not start their own services
  if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
    chmod 755 /usr/sbin/policy-rc.d
    made=1
  fi
  export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
  if ! apt_install "${missing[@]}" </dev/null >"$LOG/apt.log" 2>&1; then
    say "packages: first try failed, apt-get update and again"
    { apt-get -o DPkg::Lock::Timeout=300 update && apt_install "${missing[@]}"; } </dev/null >>"$LOG/apt.log" 2>&1
  fi
  local rc=$?
  [ -n "$made" ] && rm -f /usr/sbin/policy-rc.d
  [ $rc = 0 ] || die_log "$LOG/apt.log" "apt-get install failed, see $LOG/apt.log"
  say "packages: done"
}

has_sdk() { (unset PYTHONPATH; "$SEED_PY" -c 'import openstack') >/dev/null 2>&1; }

install_venv() {
  has_sdk && { say "openstacksdk: there ($SEED_PY)"; return 0; }
  [ -z "${DEVCLOUD_PYTHON:-}" ] || die "DEVCLOUD_PYTHON=$DEVCLOUD_PYTHON has no openstacksdk"
  [ -x "$VENV/bin/python" ] || "$PY" -m venv "$VENV" || die "cannot make a venv in $VENV"
  "$VENV/bin/pip" install -q openstacksdk >"$LOG/pip.log" 2>&1 || die_log "$LOG/pip.log" "pip install openstacksdk failed"
  say "venv: done"
}

sql() { # sql <FILE
  mariadb --no-defaults -uroot -S "$SOCK"
}

init_mysql() { # sql <FILE
  # a running mariadb with empty databases (those that exist are left alone)
  local d
  if [ ! -d "$STATE/mysql/mysql" ]; then
    mkdir -p "$STATE/mysql"
    mariadb-install-db --no-defaults --user=root --datadir="$STATE/mysql" --skip-test-db \
      --auth-root-authentication-method=socket --auth-root-socket-user="$(id -un)" \
      --innodb-log-file-size=96M >"$LOG/mysql-install.log" 2>&1 ||
      die_log "$LOG/mysql-install.log" "mariadb-install-db failed"
  fi
  start_one mariadb
  wait_infra mariadb 60
  {
    for d in $DATABASES; do echo "CREATE DATABASE IF NOT EXISTS $d CHARACTER SET utf8mb3;"; done
    echo "CREATE USER IF NOT EXISTS openstack@'$ADDR' IDENTIFIED BY '$PW';"
    for d in $DATABASES; do echo "GRANT ALL ON $d.* TO openstack@'$ADDR';"; done
  } | sql || die "cannot make the databases"
}

manage() { # manage LOG COMMAND...   a *-manage tool; its output goes to log/dbsync-LOG.log
  local log=$LOG/dbsync-$1.log
  shift
  (clean_env; exec "$PY" "$LIB/svc.py" "$@") >>"$log" 2>&1 && return 0
  tail -n 20 "$log" >&2
  echo "devcloud: ERROR: $* failed, see $log" >&2
  return 1
}
keystone_manage() { manage keystone keystone-manage --config-file "$ETC/keystone.conf" "$@"; }
nova_manage() { manage nova nova-manage --config-file "$ETC/nova.conf" --config-file "$ETC/nova-db.conf" "$@"; }

schemas_keystone() {
  local own=(--keystone-user "$(id -un)" --keystone-group "$(id -gn)")
  keystone_manage db_sync &&
    keystone_manage fernet_setup "${own[@]}" &&
    keystone_manage credential_setup "${own[@]}" &&
    keystone_manage bootstrap --bootstrap-password "$ADMIN_PW" \
      --bootstrap-username admin --bootstrap-project-name admin --bootstrap-region-id "$REGION" \
      --bootstrap-public-url "$KS_URL/" --bootstrap-internal-url "$KS_URL/" --bootstrap-admin-url "$KS_URL/"
}
schemas_glance() { manage glance glance-manage --config-file "$ETC/glance-api.conf" db_sync; }
schemas_placement() { manage placement placement-manage --config-file "$ETC/placement.conf" db sync; }
schemas_neutron() {
  manage neutron neutron-db-manage --config-file "$ETC/neutron.conf" --config-file "$ETC/ml2_conf.ini" upgrade head
}
schemas_nova() {
  nova_manage api_db sync &&
    nova_manage cell_v2 map_cell0 --database_connection "$DB_URL/nova_cell0?$DB_OPTS" &&
    nova_manage db sync &&
    nova_manage cell_v2 create_cell --name cell1 --database_connection "$DB_URL/nova?$DB_OPTS" --transport-url "$MQ_URL"
}

init_schemas() { # three at a time: this is nearly all CPU of python
  local jobs=() j rc=0
  say "database schemas: creating"
  (schemas_keystone && schemas_glance && schemas_placement) 9>&- & jobs+=($!)
  schemas_neutron 9>&- & jobs+=($!)
  schemas_nova 9>&- & jobs+=($!)
  for j in "${jobs[@]}"; do wait "$j" || rc=1; done
  [ $rc = 0 ] || die "database schemas: failed (to try again: '$SELF down', rm -rf $STATE/mysql, install)"
  touch "$STATE/.schemas"
  say "database schemas: done"
}

cmd_install() {
  local was=""
  mkdir -p "$LOG" "$RUN"
  install_packages
  write_files
  install_venv
  if [ -e "$STATE/.schemas" ]; then
    say "database schemas: there"
  else
    alive mariadb && was=1
    init_mysql
    init_schemas
    [ -n "$was" ] || stop_many 30 mariadb
  fi
  say "install: done"
}
