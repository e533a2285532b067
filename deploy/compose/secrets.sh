#!/bin/sh
# Writes the secrets into volumes, one for each service that may read them: from the environment where it has them, else as
# they are there from an earlier start, else new ones.
set -eu

secrets=/secrets

# put FILE TEXT: in one step, so that nobody reads half of it. The volume is what keeps others out, not the mode.
put() {
    printf '%s\n' "$2" >"$secrets/$1.new"
    chmod 444 "$secrets/$1.new"
    mv "$secrets/$1.new" "$secrets/$1"
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

password=${POSTGRES_PASSWORD:-}
if [ -z "$password" ] && [ -s "$secrets/postgres/password" ]; then password=$(cat "$secrets/postgres/password"); fi
if [ -z "$password" ]; then password=$(head -c 24 /dev/urandom | hex); fi
put postgres/password "$password"

# In a URL, every byte may stand as % and two digits.
encoded=$(printf %s "$password" | hex | sed 's/../%&/g')
put writer/database-url "${DATABASE_URL:-postgres://postgres:$encoded@postgres:5432/postgres}"

put masker/hmac-keys "${VEILPOST_HMAC_KEYS:-}"

aws=
if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
    aws="[default]
aws_access_key_id = $AWS_ACCESS_KEY_ID
aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY:?}
${AWS_SESSION_TOKEN:+aws_session_token = $AWS_SESSION_TOKEN}"
fi
put reader/aws-credentials "$aws"
