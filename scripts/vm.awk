# Sums up a console: awk -f vm.awk EXPECTED CONSOLE, where EXPECTED has lines `PROGRAM TEST: REASON`
# of tests that must fail here, or `PROGRAM *: REASON` of those that were not run. Ends with `N passed, N failed, N skipped`.
#
# A test may show the output of a program like its own: what counts is the last of a program's results,
# and names are looked for in all of its lists.

function start(name) {
    finish()
    program = name
    announced = results = ok = bad = ignored = 0
    delete failing
    delete passing
    delete skips
}

function finish(test, of) {
    if (program == "") return
    if (!results || ok + bad + ignored != announced) {
        print program " announced " announced " tests, and its result has " ok + bad + ignored
        failed++
    }
    for (test in failing) {
        if ((program " " test) in reason) {
            print program " " test ": skipped: " reason[program " " test]
            bad--
            skipped++
        } else {
            print program " " test " failed"
        }
    }
    for (test in skips) {
        print program " " test ": " skips[test]
        ok--
        skipped++
    }
    for (test in passing) {
        if ((program " " test) in reason && !(test in skips)) {
            print program " " test " passes here, and is listed as one that cannot: " reason[program " " test]
            failed++
        }
    }
    for (test in reason) {
        split(test, of, " ")
        if (of[1] == program && of[2] != "*:" && !(of[2] in failing) && !(of[2] in passing)) {
            print test " is listed as one that cannot pass here, and did not end"
            failed++
        }
    }
    passed += ok
    failed += bad
    skipped += ignored
    program = ""
}

FILENAME == ARGV[1] {
    if ($0 !~ /^#/ && NF) {
        test = $1 " " $2
        sub(/:$/, "", test)
        reason[test] = $0
        sub(/^[^:]*: */, "", reason[test])
        if ($2 == "*:") {
            print $1 ": skipped: " reason[test]
            skipped++
        }
    }
    next
}

/^ +Running / { start($2) }
/^running [0-9]+ tests?$/ { if (!announced) announced = $2 }
/^successes:$/ { list = "passing" }
/^failures:$/ { list = "failing" }
/^    [a-z_0-9:]+$/ {
    if (list == "passing") passing[$1] = 1
    if (list == "failing") failing[$1] = 1
}
/^---- .* stdout ----$/ { said = $2 }
/^skipped: / { if (list == "passing" && !(said in skips)) skips[said] = $0 }

/^test result: / {
    ok = bad = ignored = 0
    results++
    list = ""
    for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) ok = $(i - 1)
        if ($i ~ /^failed/) bad = $(i - 1)
        if ($i ~ /^ignored/) ignored = $(i - 1)
    }
}

END {
    finish()
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || passed == 0
}
