package lemmy

/** Writes a C program that compiles only if the structs of this binding are those of lemmy.h. */
fun main() {
    val structs = mapOf(
        "LemmyModelOptions" to MODEL_OPTIONS,
        "LemmySessionOptions" to SESSION_OPTIONS,
        "LemmyGenerateOptions" to GENERATE_OPTIONS,
        "LemmyEvent" to EVENT,
    )
    println("#include <lemmy.h>")
    for ((name, layout) in structs) {
        println("_Static_assert(sizeof($name) == ${layout.size}, \"$name\");")
        for ((field, offset) in layout.offsets) {
            println("_Static_assert(offsetof($name, $field) == $offset, \"$name.$field\");")
        }
    }
    println("_Static_assert(sizeof(LemmySamplerOptions) == $SAMPLER_SIZE, \"LemmySamplerOptions\");")
    println("_Static_assert(offsetof(LemmySamplerOptions, temperature) == ${SAMPLER_OPTIONS["temperature"]}, \"\");")
}
