# Sums up the output of `cargo test -- --show-output`: `N passed, N failed, N skipped`.
#
# Each test program starts with cargo's line `Running` and ends with libtest's line `test result:`,
# the last of that program, since a test may show the output of programs like itself. A run of
# documentation tests may have several, which all count.
#
# Skipped is what is ignored, and what passed in name only: it says `skipped: <why>`.
#
# `-v cannot=FILE` is for another kernel: FILE has lines `PROGRAM TEST: REASON` of tests that must fail
# there, and `PROGRAM *: REASON` of programs that were not run. They count as skipped, and one that
# passes or does not end has failed. What was skipped or has failed is told by name.

BEGIN {
    while (cannot != "" && (getline line < cannot) > 0) {
        if (split(line, of, " ") < 2 || line ~ /^#/) continue
        test = of[1] " " of[2]
        sub(/:$/, "", test)
        reason[test] = line
        sub(/^[^ ]* [^ ]*: */, "", reason[test])
        if (of[2] == "*:") {
            print of[1] ": skipped: " reason[test]
            skipped++
        }
    }
}

function start(name) {
    finish()
    program = name
    results = announced = ok = bad = ignored = skips = 0
    delete said
    delete listed
}

# What was expected of the tests of a program on this kernel.
function compare(test, of) {
    for (test in said) print program " " test ": " said[test]
    for (test in listed) {
        if (listed[test] == "failures" && !((program " " test) in reason)) print program " " test " failed"
    }
    for (test in reason) {
        split(test, of, " ")
        if (of[1] != program || of[2] == "*") continue
        if (listed[of[2]] == "failures") {
            print test ": skipped: " reason[test]
            bad--
            skipped++
        } else if (!(of[2] in said)) {
            print test " is to fail here, and did not: " reason[test]
            failed++
        }
    }
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
    if (cannot != "") compare()
    passed += ok - skips
    failed += bad
    skipped += ignored + skips
    program = ""
}

/^ +Running .* \(.*\)$/ { documentation = 0; start($2 == "unittests" ? $3 " " $NF : $2) }
/^ +Doc-tests / { documentation = 1; start("documentation of " $2) }
/^running [0-9]+ tests?$/ { if (documentation || !announced) announced += $2 }

# What passing tests said comes first, each under its name.
/^successes:$/ { passing = 1; list = "successes" }
/^failures:$/ { passing = 0; list = "failures" }
/^    [a-z_0-9:]+$/ { listed[$1] = list }
/^---- .* stdout ----$/ { test = $2 }
/^skipped: / { if (passing && !(test in said)) { said[test] = $0; skips++ } }

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
