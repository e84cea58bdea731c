"""Debian's Dovecot 2.3 in temporary directories: alone, or as a pair with dsync replication.

Nothing of the system's own Dovecot is read or touched. Must run as root, as Dovecot's login processes change their user.
"""
import os
import socket
import subprocess
import time

MAIL_UID = 5000  # need not be in /etc/passwd
PASSWORD = "pass"

CONFIG = """
base_dir = {dir}/run
state_dir = {dir}/state
log_path = {dir}/log
instance_name = {name}
protocols = imap lmtp
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
first_valid_uid = 1
mail_location = maildir:~/Maildir
mail_fsync = always
mail_max_userip_connections = 10000
postmaster_address = postmaster@example.test
# dsync tells two nodes apart by their host names.
import_environment = TZ DOVECOT_HOSTNAME={name} DOVECOT_HOSTDOMAIN={name}.example.test
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {dir}/passwd
}}
userdb {{
  driver = passwd-file
  args = username_format=%u {dir}/passwd
  default_fields = uid={uid} gid={uid} home={dir}/mail/%u
}}
namespace inbox {{
  inbox = yes
}}
service imap-login {{
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service imap {{
  process_limit = 2048
}}
service lmtp {{
  process_limit = 2048
  inet_listener lmtp {{
    port = {lmtp}
  }}
}}
service stats {{
  unix_listener stats-writer {{
    mode = 0666
  }}
}}
"""

REPLICATION = """
mail_plugins = notify replication
doveadm_password = secret
plugin {{
  mail_replica = tcp:127.0.0.1:{peer_doveadm}
}}
service replicator {{
  process_min_avail = 1
  unix_listener replicator-doveadm {{
    mode = 0600
  }}
}}
service aggregator {{
  fifo_listener replication-notify-fifo {{
    mode = 0666
  }}
  unix_listener replication-notify {{
    mode = 0666
  }}
}}
service doveadm {{
  inet_listener {{
    port = {doveadm}
  }}
}}
"""


def free_ports(count):
    """Ports that were free a moment ago. All are held until all are drawn, so that they differ."""
    held = [socket.socket() for _ in range(count)]
    for each in held:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in held]
    for each in held:
        each.close()
    return ports


class Node:
    def __init__(self, directory, name, ports, accounts, peer_doveadm=None):
        self.directory = os.path.abspath(directory)
        self.name = name
        self.lmtp_port, self.imap_port, self.doveadm_port = ports
        self.lmtp = f"127.0.0.1:{self.lmtp_port}"
        self.imap = f"127.0.0.1:{self.imap_port}"
        self.process = None
        for part in ("run", "state", "mail"):
            os.makedirs(os.path.join(self.directory, part))
        os.chown(os.path.join(self.directory, "mail"), MAIL_UID, MAIL_UID)
        values = dict(dir=self.directory, name=name, uid=MAIL_UID, imap=self.imap_port, lmtp=self.lmtp_port,
                      doveadm=self.doveadm_port, peer_doveadm=peer_doveadm)
        text = CONFIG.format(**values) + (REPLICATION.format(**values) if peer_doveadm else "")
        self.config = os.path.join(self.directory, "dovecot.conf")
        with open(self.config, "w") as out:
            out.write(text)
        with open(os.path.join(self.directory, "passwd"), "w") as out:
            for i in range(accounts):
                out.write(f"user{i}@example.test:{PASSWORD}::::::\n")

    def start(self):
        with open(os.path.join(self.directory, "stderr"), "a") as err:
            self.process = subprocess.Popen(["/usr/sbin/dovecot", "-F", "-c", self.config], stdin=subprocess.DEVNULL,
                                            stdout=err, stderr=err)
        end = time.monotonic() + 15
        while True:
            try:
                for port in (self.lmtp_port, self.imap_port):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"Dovecot does not start: see {self.directory}/stderr and log") from None
                time.sleep(0.05)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Dovecot:
    """`nodes` is [A, B] for a pair, [A] for Dovecot alone."""

    def __init__(self, directory, accounts, pair):
        for parent in _parents(os.path.abspath(directory)):
            # Dovecot's processes run as other users and must get through.
            if os.path.isdir(parent) and not os.stat(parent).st_mode & 0o001:
                raise RuntimeError(f"{parent} is closed to other users: choose another --dir")
        os.makedirs(directory)
        os.chmod(directory, 0o755)
        ports = free_ports(6)
        if pair:
            self.nodes = [Node(os.path.join(directory, "a"), "a", ports[:3], accounts, ports[5]),
                          Node(os.path.join(directory, "b"), "b", ports[3:], accounts, ports[2])]
        else:
            self.nodes = [Node(os.path.join(directory, "a"), "a", ports[:3], accounts)]

    def start(self):
        for node in self.nodes:
            node.start()

    def stop(self):
        for node in self.nodes:
            node.stop()

    def messages_on_disk(self, node):
        """Letters in all INBOXes, without opening a mailbox: an INBOX that is opened on B before its first
        replication gets a GUID of its own there, and the two never converge."""
        total = 0
        root = os.path.join(node.directory, "mail")
        for account in os.listdir(root):
            for part in ("new", "cur"):
                try:
                    total += len(os.listdir(os.path.join(root, account, "Maildir", part)))
                except FileNotFoundError:
                    pass
        return total

    def settle(self, total, seconds_max=60):
        """Waits until every node has `total` letters on its disk."""
        end = time.monotonic() + seconds_max
        while True:
            counts = [self.messages_on_disk(node) for node in self.nodes]
            if all(count == total for count in counts):
                return
            if time.monotonic() > end:
                raise RuntimeError(f"Dovecot: {counts} letters on disk where {total} were delivered")
            time.sleep(0.1)


def _parents(path):
    while path != "/":
        path = os.path.dirname(path)
        yield path
