# A workspace of its own, a key that may use some of its rooms, and what happens to the others.
set -eu
api=${API:-http://127.0.0.1:8080/api/v1} hub=${HUB:-http://127.0.0.1:7100} data=${CARILLON_DATA_DIR:-.carillon} token=
call() { curl -s -X "$1" "$api$2" -H "authorization: Bearer $token" -H 'content-type: application/json' -d "$3"; }
get() { node -pe "JSON.parse(require('fs').readFileSync(0, 'utf8')).$1"; }

token=$(call POST /sessions '{"username":"admin","password":"'"$(cat "$data/admin-password")"'"}' | get token)
workspace=$(call POST /workspaces '{"name":"itb"}' | get id)
key=$(call POST "/workspaces/$workspace/keys" '{"kind":"messenger","name":"panel","permissions":{"send":["ITB-*"],"receive":["ITB-*"]}}' | get accessKey)
sleep 1 # a change is in force at every hub within two seconds, here within one

send() { curl -s "$hub/event" -H "authorization: Bearer $key" -d '{"affected-room":{"roomID":"'"$1"'"},"key":"power","value":"on"}' && echo; }
send ITB-1101 # Processing event
send HALL-1   # SEND_DENIED: no rule allows it
