#!/bin/sh
# Writes the secrets into volumes, one for each service that may read them: from the environment where it has
# them, else as they are there from an earlier start, else new ones.
set -eu

secrets=/secrets

# put FILE TEXT: in one step, so that nobody reads half of it. The volume is what keeps others out, not the
# mode.
put() {
    printf '%s\n' "$2" >"$secrets/$1.new"
    chmod 444 "$secrets/$1.new"
    mv "$secrets/$1.new" "$secrets/$1"
}

hex() { od -An -v -tx1 | tr -d ' \n'; }

# kept FILE GIVEN: the password that is given, else the one of an earlier start, else a new one.
kept() {
    if [ -n "$2" ]; then
        printf %s "$2"
    elif [ -s "$secrets/$1" ]; then
        cat "$secrets/$1"
    else
        head -c 24 /dev/urandom | hex
    fi
}

password=$(kept postgres/password "${POSTGRES_PASSWORD:-}")
writer_password=$(kept postgres/writer-password '')
put postgres/password "$password"
put postgres/writer-password "$writer_password"

# The database as the role that owns everything in it, which only the migrations know, and as the writer's
# own.
if [ -n "${DATABASE_URL:-}" ]; then
    put owner/database-url "${DATABASE_OWNER_URL:-$DATABASE_URL}"
    put writer/database-url "$DATABASE_URL"
else
    # In a URL, every byte may stand as % and two digits.
    encoded=$(printf %s "$password" | hex | sed 's/../%&/g')
    put owner/database-url "postgres://postgres:$encoded@postgres:5432/postgres"
    put writer/database-url "postgres://veilpost_writer:$writer_password@postgres:5432/postgres"
fi

put masker/hmac-keys "${VEILPOST_HMAC_KEYS:-}"

aws=
if [ -n "${AWS_ACCESS_KEY_ID:-}" ]; then
    aws="[default]
aws_access_key_id = $AWS_ACCESS_KEY_ID
aws_secret_access_key = ${AWS_SECRET_ACCESS_KEY:?}
${AWS_SESSION_TOKEN:+aws_session_token = $AWS_SESSION_TOKEN}"
fi
put reader/aws-credentials "$aws"
