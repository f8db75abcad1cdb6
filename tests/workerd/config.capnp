using Workerd = import "/workerd/workerd.capnp";

# The port and the storage folder are placeholders: each instance brings its own on the command line
# (--socket-addr http=..., --directory-path storage=...), its tokens in the environment.
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .replica),
    (name = "storage", disk = (writable = true)),
    # Nothing here reaches out; without this line workerd would allow the public internet.
    (name = "internet", network = (allow = [])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const replica :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2024-12-16",
  bindings = [
    (name = "ADMIN_TOKEN", fromEnvironment = "REPLICA_ADMIN_TOKEN"),
    (name = "CLIENT_TOKEN", fromEnvironment = "REPLICA_CLIENT_TOKEN"),
    (name = "DATABASE", durableObjectNamespace = "Database"),
  ],
  durableObjectNamespaces = [
    (className = "Database", uniqueKey = "afterquery-test-replica", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "storage"),
);
