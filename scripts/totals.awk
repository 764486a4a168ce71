# Sums up the output of `cargo test -- --show-output`: `N passed, N failed, N skipped`.
#
# Each test program starts with cargo's line `Running` and ends with libtest's line `test result:`,
# the last of that program, since a test may show the output of programs like itself. A run of
# documentation tests may have several, which all count.
#
# Skipped is what is ignored, and what passed in name only: it says `skipped: <why>`.

function start(name) {
    finish()
    program = name
    results = announced = ok = bad = ignored = skips = 0
    delete said
}

function finish() {
    if (program == "") return
    if (!results) {
        print program " ended without a result"
        bad++
    } else if (ok + bad + ignored != announced) {
        print program " announced " announced " tests, and its result has " ok + bad + ignored
        unclear = 1
    }
    passed += ok - skips
    failed += bad
    skipped += ignored + skips
    program = ""
}

/^ +Running .* \(.*\)$/ { documentation = 0; start($2 == "unittests" ? $3 " " $NF : $2) }
/^ +Doc-tests / { documentation = 1; start("documentation of " $2) }
/^running [0-9]+ tests?$/ { if (documentation || !announced) announced += $2 }

# What passing tests said comes first, each under its name.
/^successes:$/ { passing = 1 }
/^failures:$/ { passing = 0 }
/^---- .* stdout ----$/ { test = $2 }
/^skipped: / { if (passing && !(test in said)) { said[test] = 1; skips++ } }

/^test result: / {
    if (!documentation) ok = bad = ignored = 0
    results++
    passing = 0
    for (i = 2; i <= NF; i++) {
        if ($i ~ /^passed/) ok += $(i - 1)
        if ($i ~ /^failed/) bad += $(i - 1)
        if ($i ~ /^ignored/) ignored += $(i - 1)
    }
}

END {
    finish()
    if (passed + failed + skipped == 0) print "no test ran"
    printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
    exit failed > 0 || unclear || passed == 0
}
