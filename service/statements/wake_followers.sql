-- Tell every process that the log has grown. It carries no data: whoever hears it reads the log.
notify entri_log
