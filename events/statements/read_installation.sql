-- What this log is. One row: id, generation, cursor_key.
select id, generation, cursor_key from installation
