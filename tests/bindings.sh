#!/usr/bin/env bash
# Builds the library as other projects get it (cargo xtask dist), compiles and runs a program in every language whose
# compiler is here, and checks what they answer. Stops at the first failure.
#
#     tests/bindings.sh [FLAGS OF CARGO...]        # --profile dev unless told
#
# Needs a C and a C++ compiler, binutils and Python 3 with venv. What else it uses if it is there:
#
#     pkg-config, cmake, clang, swiftc   on the PATH
#     LEMMY_KOTLIN       folder of the Kotlin compiler (with lib/kotlin-compiler.jar)
#     LEMMY_JNA          jna.jar
#     LEMMY_JAVA_HOME    Java 22 or later
#     LEMMY_NO_SKIP=1    a missing tool is a failure, but for swiftc
set -euo pipefail
cd "$(dirname "$0")/.."
root="$PWD"
model="$root/models/lemmy-nano-q8_0.gguf"
work="$(mktemp -d)"
dist="$work/dist"
flags=("$@")
[ "${#flags[@]}" -gt 0 ] || flags=(--profile dev)
skipped=0
ran=0
trap 'status=$?; rm -rf "$work"; [ "$status" = 0 ] || printf "\nFAILED in: %s\n" "${current:-start}" >&2' EXIT

step() { printf '\n-- %s (%s s)\n' "$*" "$SECONDS"; current="$*"; }

# skip TOOL: says what is not here.
skip() {
    printf 'skipped: %s is not here\n' "$1"
    skipped=$((skipped + 1))
    [ -z "${LEMMY_NO_SKIP:-}" ] || [ "$1" = swiftc ]
}

has() { command -v "$1" >/dev/null; }

# answers PATTERN COMMAND...: runs a program with stdin from $input and shows what it says, its lines joined by " | ".
# This extended regular expression must be in it.
answers() {
    local pattern="$1" said
    shift
    if ! said="$(timeout 120 "$@" 2>"$work/stderr" <"${input:-/dev/null}")"; then
        printf '%s\n' "$said" && cat "$work/stderr" && echo "failed: $*"
        return 1
    fi
    said="${said//$'\n'/ | }"
    printf '   %s: %s\n' "$(basename "$1")" "$said"
    if ! grep -qE -- "$pattern" <<<"$said"; then
        cat "$work/stderr" && echo "expected: $pattern"
        return 1
    fi
    ran=$((ran + 1))
}

# converses COMMAND...: a program that answers line by line, and remembers.
converses() {
    printf '%s\n' "What is 12 + 30?" "My name is Anna." "What is my name?" >"$work/lines"
    input="$work/lines" answers '^42 \| .* \| .*Anna' "$@"
}

# refuses PATTERN COMMAND...: a program that must fail and say this on stderr.
refuses() {
    local pattern="$1"
    shift
    if "$@" >/dev/null 2>"$work/stderr" || ! grep -qE -- "$pattern" "$work/stderr"; then
        cat "$work/stderr" && echo "expected a failure: $pattern"
        return 1
    fi
    printf '   refused: %s\n' "$(tail -n 1 "$work/stderr")"
    ran=$((ran + 1))
}

weather="What is the weather in London?"
weather_answer='^-> get_weather \{"city": ?"London"\} \| .*rainy and 11 degrees'
warnings=(-Wall -Wextra -Wpedantic -Wconversion -Werror)

the_library() {
    step "the library"
    cargo xtask dist "$dist" -- "${flags[@]}"
    readelf -d "$dist/lib/liblemmy.so" | grep -q "SONAME.*liblemmy\.so\.[0-9]"
    diff <(nm -D --defined-only --format=just-symbols "$dist/lib/liblemmy.so" | sort) include/lemmy.symbols
    # Nothing global in the static library but what the header has: no clash with another Rust library.
    diff <(nm -g --defined-only --format=just-symbols "$dist/lib/liblemmy.a" | grep . | grep -v ':$' | sort) \
        include/lemmy.symbols
    echo "   exports of both: $(wc -l <include/lemmy.symbols) functions, as listed"
}

# What pkg-config says, or the same by hand where it is not installed.
shared_flags() {
    if has pkg-config; then
        PKG_CONFIG_PATH="$dist/lib/pkgconfig" pkg-config --cflags --libs lemmy
    else
        echo "-I$dist/include -L$dist/lib -llemmy"
    fi
}

in_c() {
    step "C"
    has pkg-config || skip pkg-config
    local program use
    local prompt=$'<bos><|turn>user\nWhat is 12 + 30?<turn|>\n<|turn>model\n<|channel>thought\n<channel|>'
    read -ra use <<<"$(shared_flags)"
    for program in version chat raw tools image; do
        "${CC:-cc}" -std=c99 "${warnings[@]}" "examples/c/$program.c" "${use[@]}" "-Wl,-rpath,$dist/lib" -lm \
            -o "$work/$program"
    done
    answers '^lemmy [0-9.]+, ABI' "$work/version"
    converses "$work/chat" "$model" 0
    answers '^42$' "$work/raw" "$model" "$prompt"
    answers "$weather_answer" "$work/tools" "$model" "$weather"
    sees "$work/image"
    "${CC:-cc}" -std=c99 "${warnings[@]}" examples/c/chat.c "-I$dist/include" "$dist/lib/liblemmy.a" \
        -lpthread -ldl -lm -o "$work/chat-static"
    converses "$work/chat-static" "$model" 0
}

# sees COMMAND...: a red square, if the demonstration model has its vision tower; else the failure that a person would
# meet. No picture at all fails in any case.
sees() {
    local tower=(models/*mmproj*.gguf) picture="$work/square.png" question="What is in the picture?"
    python3 tests/bindings/square.py "$picture"
    if [ -f "${tower[0]}" ]; then
        answers '[Rr]ed' "$@" "$model" "${tower[0]}" "$picture" "$question"
    else
        refuses 'no-mmproj\.gguf: No such file' "$@" "$model" "$work/no-mmproj.gguf" "$picture" "$question"
    fi
    refuses 'expected PNG, JPEG' "$@" "$model" "$model" tests/bindings.sh "$question"
}

by_cmake() {
    step "C and C++ by CMake"
    has cmake || { skip cmake && return; }
    if ! { cmake -S tests/bindings/cmake -B "$work/cmake" "-DCMAKE_PREFIX_PATH=$dist" &&
        cmake --build "$work/cmake"; } >"$work/cmake.log"; then
        cat "$work/cmake.log"
        return 1
    fi
    answers '^lemmy [0-9.]+, ABI' "$work/cmake/shared"
    answers '^lemmy [0-9.]+, ABI' "$work/cmake/static"
    converses "$work/cmake/cpp" "$model" 0
}

in_cpp() {
    step "C++"
    local program use
    read -ra use <<<"$(shared_flags)"
    for program in examples/cpp/chat tests/bindings/wrapper; do
        "${CXX:-c++}" -std=c++17 "${warnings[@]}" -Wshadow "$program.cpp" "${use[@]}" "-Wl,-rpath,$dist/lib" \
            -o "$work/$(basename "$program")-cpp"
    done
    converses "$work/chat-cpp" "$model" 0
    answers 'all right' "$work/wrapper-cpp" "$model" "$work"
    "${CXX:-c++}" -std=c++20 "${warnings[@]}" -fsyntax-only tests/bindings/wrapper.cpp "-I$dist/include"
}

by_clang() {
    step "clang: headers and modules, as Swift reads them"
    has clang || { skip clang && return; }
    clang -std=c99 "${warnings[@]}" -fsyntax-only examples/c/tools.c "-I$dist/include"
    clang++ -std=c++17 "${warnings[@]}" -fsyntax-only tests/bindings/wrapper.cpp "-I$dist/include"
    local module
    for module in Lemmy CLemmy; do
        printf '@import %s;\nint main(void) { return lemmy_abi_version() == 0; }\n' "$module" >"$work/module.m"
        clang -fmodules "-fmodules-cache-path=$work/modules" -fsyntax-only "$work/module.m" "-I$dist/include" \
            -Ibindings/swift/Sources/CLemmy
    done
    ran=$((ran + 4))
}

in_python() {
    step "Python"
    local venv="$work/venv" library=("$dist"/lib/liblemmy.so.[0-9]*)
    python3 -m venv "$venv"
    cp -r bindings/python "$work/python"
    LEMMY_LIBRARY="${library[0]}" "$venv/bin/pip" wheel --quiet --disable-pip-version-check --no-deps \
        --wheel-dir "$work/wheels" "$work/python"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "$work"/wheels/*.whl
    echo "   $(basename "$work"/wheels/*.whl): $(du -h "$work"/wheels/*.whl | cut -f1)"
    env -u LEMMY_LIBRARY LEMMY_TEST_MODEL="$model" LEMMY_TEST_INCLUDE="$dist/include" \
        "$venv/bin/python" -m unittest discover -s bindings/python/tests
    ran=$((ran + 1))
    converses "$venv/bin/python" examples/python/chat.py "$model" 0
    answers "$weather_answer" "$venv/bin/python" examples/python/tools.py "$model" "$weather"
    sees "$venv/bin/python" examples/python/image.py
}

in_kotlin() {
    step "Kotlin: JNA and the foreign function interface"
    local name
    for name in LEMMY_KOTLIN LEMMY_JNA LEMMY_JAVA_HOME; do
        [ -n "${!name:-}" ] || { skip "$name" && return; }
    done
    local java="$LEMMY_JAVA_HOME/bin/java" classes="$work/classes"
    "$java" --enable-native-access=ALL-UNNAMED -cp "$LEMMY_KOTLIN/lib/kotlin-preloader.jar" \
        org.jetbrains.kotlin.preloading.Preloader -cp "$LEMMY_KOTLIN/lib/kotlin-compiler.jar" \
        org.jetbrains.kotlin.cli.jvm.K2JVMCompiler -kotlin-home "$LEMMY_KOTLIN" -jdk-home "$LEMMY_JAVA_HOME" \
        -jvm-target 1.8 -no-reflect -cp "$LEMMY_JNA" -d "$classes" \
        bindings/kotlin/src/lemmy/*.kt bindings/kotlin/test/*.kt examples/kotlin/*.kt
    local run=("$java" --enable-native-access=ALL-UNNAMED "-Dlemmy.library=$dist/lib/liblemmy.so"
        -cp "$classes:$LEMMY_KOTLIN/lib/kotlin-stdlib.jar:$LEMMY_JNA")
    # Debian keeps the native half of JNA outside of its jar.
    local half=(/usr/lib/*/jni/libjnidispatch.system.so)
    [ ! -f "${half[0]}" ] || run+=("-Djna.boot.library.path=$(dirname "${half[0]}")")
    "${run[@]}" lemmy.CheckLayoutsKt >"$work/layouts.c"
    "${CC:-cc}" -std=c11 -fsyntax-only "-I$dist/include" "$work/layouts.c"
    answers "$weather_answer" "${run[@]}" MainKt jna "$model" "$weather"
    answers "$weather_answer" "${run[@]}" MainKt ffm "$model" "$weather"
}

in_swift() {
    step "Swift"
    has swiftc || { skip swiftc && return; }
    cp -r bindings/swift "$work/swift"
    PKG_CONFIG_PATH="$dist/lib/pkgconfig" swift build --package-path "$work/swift"
    answers '^42$' env "LD_LIBRARY_PATH=$dist/lib" "$work/swift/.build/debug/lemmy-ask" "$model" "What is 12 + 30?"
}

in_rust() {
    step "Rust"
    cargo build --quiet --workspace --examples --message-format=json-render-diagnostics >"$work/rust.json"
    local program
    rust() { grep -o "\"executable\":\"[^\"]*/examples/$1\"" "$work/rust.json" | cut -d'"' -f4; }
    program="$(rust chat)"
    converses "$program" "$model" 0
    program="$(rust tools)"
    answers "$weather_answer" "$program" "$model" "$weather"
    program="$(rust choose)"
    answers '[5-9][0-9]\.[0-9]+ %  42' "$program" "$model" "What is 12 + 30?" 41 42 43
    program="$(rust many)"
    answers '^What is 12 \+ 30\? 42 \| What is 5 \+ 6\? 11$' "$program" "$model" "What is 12 + 30?" "What is 5 + 6?"
}

the_library
in_c
by_cmake
in_cpp
by_clang
in_python
in_kotlin
in_swift
in_rust
step "done"
echo "$ran passed, 0 failed, $skipped skipped"
