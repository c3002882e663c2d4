-- For psql, connected to the embedded server: makes the database, where it is missing.
select format('create database %I', :'name')
 where not exists (select from pg_database where datname = :'name')
\gexec
