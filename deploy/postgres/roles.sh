#!/bin/bash
# One database for each service, with two roles: <name>_owner changes the tables (migrations), <name> reads and writes
# rows. Run at each start: what is there stays, passwords are set to what the environment says.
set -euo pipefail
for service in intake scheduling outcomes mdt; do
    name=kanwa_$service
    owner_password=KANWA_${service^^}_OWNER_PASSWORD
    password=KANWA_${service^^}_DATABASE_PASSWORD
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --dbname postgres --set name="$name" --set owner="${name}_owner" \
        --set owner_password="${!owner_password:?}" --set password="${!password:?}" <<'SQL'
SELECT format('CREATE ROLE %I', role) FROM unnest(ARRAY[:'owner', :'name']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec
ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'owner_password';
ALTER ROLE :"name" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
-- A request that hangs must not hold its rows for ever.
ALTER ROLE :"name" SET statement_timeout = '30s';
ALTER ROLE :"name" SET idle_in_transaction_session_timeout = '60s';
SELECT format('CREATE DATABASE %I OWNER %I', :'name', :'owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'name') \gexec
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO :"name";
\connect :"name"
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT ALL ON SCHEMA public TO :"owner";
GRANT USAGE ON SCHEMA public TO :"name";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO :"name";
ALTER DEFAULT PRIVILEGES FOR ROLE :"owner" IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO :"name";
SQL
done
echo "databases and roles are as they should be"
