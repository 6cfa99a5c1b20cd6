"""health.py CONFIG.json [NAME...]: one line per sick service, exit code 0 when all are healthy.

Runs under the Debian python. A service is healthy when its API answers, when its RPC queue has a
consumer (gone the moment the process dies), and when its heartbeat in nova's table is fresh.
"""
import json
import socket
import sys
import urllib.error
import urllib.request


def http(url):
    try:
        code = urllib.request.urlopen(url, timeout=10).status
    except urllib.error.HTTPError as e:
        code = e.code
    return None if code in (200, 300) else f'HTTP {code} from {url}'


def consumers(conf, queue):
    import amqp
    broker = amqp.Connection(host=conf['mq'], userid='openstack', password=conf['pw'],
                             connect_timeout=5)
    try:
        broker.connect()
        count = broker.channel().queue_declare(queue, passive=True).consumer_count
        return None if count > 0 else f'nobody listens on its RPC queue {queue}'
    finally:
        try:
            broker.close()
        except Exception:
            pass


def heartbeat(conf, queue):
    # the scheduler passes over a host whose last heartbeat is older than service_down_time:
    # after a restore or a long `down` that is so until the first new one
    import pymysql
    topic, host = queue.split('.', 1)
    db = pymysql.connect(host=conf['db_host'], port=conf['db_port'], user='openstack',
                         password=conf['pw'], database='nova', connect_timeout=5)
    try:
        cur = db.cursor()
        cur.execute('SELECT TIMESTAMPDIFF(SECOND, last_seen_up, UTC_TIMESTAMP()) FROM services '
                    'WHERE deleted=0 AND topic=%s AND host=%s', (topic, host))
        row = cur.fetchone()
        if row is None or row[0] is None:
            return 'no heartbeat yet'
        return None if row[0] < conf['fresh'] else f'last heartbeat {row[0]} s ago'
    finally:
        db.close()


def rpc(conf, queue):
    queue = queue.replace('HOST', socket.gethostname())
    return consumers(conf, queue) or heartbeat(conf, queue)


def main(path, *only):
    with open(path) as f:
        conf = json.load(f)
    checks = [(name, http, (url,)) for name, url in conf['http'].items()]
    checks += [(name, rpc, (conf, queue)) for name, queue in conf['rpc'].items()]
    sick = 0
    for name, check, args in checks:
        if only and name not in only:
            continue
        try:
            reason = check(*args)
        except Exception as e:
            reason = f'{type(e).__name__}: {e}'
        if reason:
            sick = 1
            print(name + '\t' + reason.replace('\n', ' '))
    return sick


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
