# The units for systemd 253 and later: systemctl reload then waits for the end of the reload. Before that, the word is unknown.
s/^Type=notify$/Type=notify-reload/
/^ExecReload=kill -HUP /d
