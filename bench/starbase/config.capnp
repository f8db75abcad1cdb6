using Workerd = import "/workerd/workerd.capnp";

# The tests' replica, with a parser in front. Port, storage and tokens come as in tests/workerd.
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .replica),
    (name = "storage", disk = (writable = true)),
    (name = "internet", network = (allow = [])),
  ],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "main")],
);

const replica :Workerd.Worker = (
  modules = [
    (name = "parsing.js", esModule = embed "parsing.js"),
    (name = "worker.js", esModule = embed "../../tests/workerd/worker.js"),
    (name = "parser.js", commonJsModule = embed "node_modules/node-sql-parser/build/sqlite.js"),
    (name = "big-integer", commonJsModule = embed "node_modules/big-integer/BigInteger.js"),
  ],
  compatibilityDate = "2024-12-16",
  bindings = [
    (name = "ADMIN_TOKEN", fromEnvironment = "REPLICA_ADMIN_TOKEN"),
    (name = "CLIENT_TOKEN", fromEnvironment = "REPLICA_CLIENT_TOKEN"),
    (name = "DATABASE", durableObjectNamespace = "Database"),
  ],
  durableObjectNamespaces = [
    (className = "Database", uniqueKey = "afterquery-bench-starbase", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "storage"),
);
