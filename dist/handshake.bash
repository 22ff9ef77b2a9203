# SPDX-License-Identifier: LGPL-2.1-or-later
# Completion of handshake(1) for bash.

_handshake_profiles()
{
	local file=/etc/handshaked/handshaked.conf
	[[ -r $file ]] && sed -n 's/^[[:space:]]*\[profile[[:space:]]*\([^]]*\)\].*/\1/p' "$file"
}

_handshake()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}
	local subcommand=${COMP_WORDS[1]} options

	COMPREPLY=()
	if ((COMP_CWORD == 1)); then
		mapfile -t COMPREPLY < <(compgen -W \
			'serve connect trace status perf doctor --help --version' -- "$word")
		return
	fi
	if [[ $subcommand == perf ]]; then
		if ((COMP_CWORD == 2)); then
			mapfile -t COMPREPLY < <(compgen -W 'rate throughput --help' -- "$word")
			return
		fi
		subcommand=${COMP_WORDS[2]}
	fi
	# A file behind it for connect, nothing for serve.
	[[ $subcommand$before == connect--early-data ]] && before=--svg
	case $before in
	--user)
		mapfile -t COMPREPLY < <(compgen -u -- "$word")
		return
		;;
	--role)
		mapfile -t COMPREPLY < <(compgen -W 'client server' -- "$word")
		return
		;;
	--root)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -d -- "$word")
		return
		;;
	--kinds)
		mapfile -t COMPREPLY < <(compgen -W 'full resumed mutual early-data post-quantum' -- "$word")
		return
		;;
	--until)
		mapfile -t COMPREPLY < <(compgen -W 'close answer response handshake' -- "$word")
		return
		;;
	--tls)
		mapfile -t COMPREPLY < <(compgen -W '1.3 1.2' -- "$word")
		return
		;;
	--paths)
		mapfile -t COMPREPLY < <(compgen -W \
			'plain gnutls relay kernel-write kernel-sendfile kernel-zerocopy' -- "$word")
		return
		;;
	--direction)
		mapfile -t COMPREPLY < <(compgen -W 'down up' -- "$word")
		return
		;;
	--by)
		mapfile -t COMPREPLY < <(compgen -W 'gnutls listen handshake' -- "$word")
		return
		;;
	--key)
		mapfile -t COMPREPLY < <(compgen -W 'ecdsa rsa' -- "$word")
		return
		;;
	--target | --client)
		mapfile -t COMPREPLY < <(compgen -A hostname -S : -- "$word")
		compopt -o nospace
		return
		;;
	--socket | --log | --svg | --plot | --certificate | --private-key)
		compopt -o filenames
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	--records)
		mapfile -t COMPREPLY < <(compgen -W "kernel relay$([[ ${COMP_WORDS[1]} == perf ]] &&
			echo ' auto')" -- "$word")
		return
		;;
	--profile)
		mapfile -t COMPREPLY < <(compgen -W "$(_handshake_profiles)" -- "$word")
		return
		;;
	--alpn)
		mapfile -t COMPREPLY < <(compgen -W 'http/1.1 h2' -- "$word")
		return
		;;
	--listen | --timeout | --timeout-ms | --update-after | --psk-identity | --peer-name | --watch | --peer | --count | \
		--name | --cipher | --priorities | --at-once | --runs | --seconds | --handshakes | --warm-up | \
		--threads | --server | --sizes | --streams | --workers | --silent | --pids)
		return
		;;
	esac
	case $subcommand in
	serve)
		options='--listen --root --profile --records --require-client-certificate
			--early-data --timeout --update-after --log --trace --quiet --socket --help'
		;;
	connect)
		options='--peer-name --profile --alpn --psk-identity --timeout-ms --records --early-data
			--info --json
			--no-data --no-resume --keep-open --trace --svg --socket --help'
		if [[ $word != -* ]]; then
			mapfile -t COMPREPLY < <(compgen -A hostname -S : -- "$word")
			compopt -o nospace
			return
		fi
		;;
	trace)
		options='--user --profile --peer --role --failed --count --json --svg --socket --help'
		;;
	status)
		options='--json --watch --socket --help'
		;;
	rate)
		options='--server --client --target --by --key --records --workers --kinds --tls --cipher
			--name --priorities --certificate --private-key --until --pids
			--at-once --runs --seconds --handshakes --warm-up --threads --silent --timeout
			--json --plot --quiet --help'
		;;
	throughput)
		options='--server --client --paths --sizes --streams --direction --key --tls --cipher --discard
			--crossover --runs --seconds --warm-up --json --plot --quiet --help'
		;;
	doctor)
		options='--json --socket --help'
		;;
	*)
		return
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$options" -- "$word")
}

complete -F _handshake handshake
