-- Made by `python -m deploy.k8s generate`: roles, databases and rights as on the local stack.
\getenv password SCRM_OWNER_PASSWORD
CREATE ROLE scrm_owner LOGIN NOBYPASSRLS PASSWORD :'password';
\getenv password SCRM_WRITER_PASSWORD
CREATE ROLE scrm_writer LOGIN BYPASSRLS PASSWORD :'password';
\getenv password SCRM_READER_PASSWORD
CREATE ROLE scrm_reader LOGIN NOBYPASSRLS PASSWORD :'password';
CREATE DATABASE identity OWNER scrm_owner;
\connect identity
GRANT CREATE ON DATABASE identity TO scrm_writer;
GRANT USAGE, CREATE ON SCHEMA public TO scrm_writer;
GRANT USAGE ON SCHEMA public TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON TABLES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SEQUENCES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SCHEMAS TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT SELECT ON TABLES TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT USAGE ON SCHEMAS TO scrm_reader;
CREATE DATABASE tracking OWNER scrm_owner;
\connect tracking
GRANT CREATE ON DATABASE tracking TO scrm_writer;
GRANT USAGE, CREATE ON SCHEMA public TO scrm_writer;
GRANT USAGE ON SCHEMA public TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON TABLES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SEQUENCES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SCHEMAS TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT SELECT ON TABLES TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT USAGE ON SCHEMAS TO scrm_reader;
CREATE DATABASE tagging OWNER scrm_owner;
\connect tagging
GRANT CREATE ON DATABASE tagging TO scrm_writer;
GRANT USAGE, CREATE ON SCHEMA public TO scrm_writer;
GRANT USAGE ON SCHEMA public TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON TABLES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SEQUENCES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SCHEMAS TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT SELECT ON TABLES TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT USAGE ON SCHEMAS TO scrm_reader;
CREATE DATABASE membership OWNER scrm_owner;
\connect membership
GRANT CREATE ON DATABASE membership TO scrm_writer;
GRANT USAGE, CREATE ON SCHEMA public TO scrm_writer;
GRANT USAGE ON SCHEMA public TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON TABLES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SEQUENCES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SCHEMAS TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT SELECT ON TABLES TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT USAGE ON SCHEMAS TO scrm_reader;
CREATE DATABASE campaigns OWNER scrm_owner;
\connect campaigns
GRANT CREATE ON DATABASE campaigns TO scrm_writer;
GRANT USAGE, CREATE ON SCHEMA public TO scrm_writer;
GRANT USAGE ON SCHEMA public TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON TABLES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SEQUENCES TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner GRANT ALL ON SCHEMAS TO scrm_writer;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT SELECT ON TABLES TO scrm_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE scrm_owner, scrm_writer GRANT USAGE ON SCHEMAS TO scrm_reader;
