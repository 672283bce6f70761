-- End this session soon after its client has gone, whatever it is doing: what it has locked is needed by the next one.
select set_config('client_connection_check_interval', '500ms', false), set_config('tcp_keepalives_idle', '10', false),
    set_config('tcp_keepalives_interval', '5', false), set_config('tcp_keepalives_count', '3', false)
