# Sums up a console: awk -f vm.awk EXPECTED CONSOLE, where EXPECTED has lines `PROGRAM TEST: REASON`
# of tests that must fail here. Ends with `N passed, N failed, N skipped`.

function end(what) {
    print what
    failed++
}

FNR == NR {
    if ($0 !~ /^#/ && NF) {
        test = $1 " " $2
        sub(/:$/, "", test)
        reason[test] = $0
        sub(/^[^:]*: */, "", reason[test])
    }
    next
}

/^ +Running / { program = $2; announced[program] = results[program] = 0 }
/^running [0-9]+ tests?$/ { announced[program] = $2 }

/^---- .* stdout ----$/ { said = program " " $2 }
/^skipped: / { if (!(said in skips)) { skips[said] = 1; print said ": " $0 } }

/^test .* \.\.\. / {
    test = program " " $2
    results[program]++
    if (/ \.\.\. ignored/) {
        skipped++
    } else if (/ \.\.\. ok$/) {
        passed++
        if (test in reason) end(test " passes here, and is listed as one that cannot: " reason[test])
    } else if (test in reason) {
        print test ": skipped: " reason[test]
        skipped++
    } else {
        end(test " failed")
    }
}

END {
    for (test in skips) { passed--; skipped++ }
    for (program in announced)
        if (results[program] != announced[program] || !announced[program])
            end(program " announced " announced[program] " tests, and " results[program] " ended")
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
}
