-- name: record
-- For a mutation that has changed its rows by other statements. See sql/functions.
select record_mutation(:events, :audits, :author);
