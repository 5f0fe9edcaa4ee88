import lemmy.Event
import lemmy.Ffm
import lemmy.Jna
import lemmy.Lemmy
import lemmy.Session
import lemmy.Wishes

/*
 * Asks a model something; it may call a function of this program.
 *
 *     java -cp ... MainKt jna|ffm MODEL.gguf "What is the weather in London?"
 */

private const val TOOLS = """[{"type": "function", "function": {
    "name": "get_weather",
    "description": "The current weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "City name"}},
        "required": ["city"]
    }
}}]"""

/** The tool; [arguments] is JSON, which a program of some size would read with a library. */
private fun getWeather(arguments: String) =
    if ("London" in arguments) """{"condition": "rainy", "temperature": 11}"""
    else """{"condition": "sunny", "temperature": 22}"""

/** Shows a reply while it comes; answers its calls. Whether there were any. */
private fun show(session: Session, reply: Sequence<Event>): Boolean {
    val calls = mutableListOf<Event.ToolCall>()
    for (event in reply) {
        when (event) {
            is Event.Text -> print(event.text)
            is Event.ToolCall -> calls += event
            else -> Unit
        }
    }
    for (call in calls) {
        println("-> ${call.name} ${call.arguments}")
        session.addToolAnswer(call, getWeather(call.arguments))
    }
    return calls.isNotEmpty()
}

fun main(arguments: Array<String>) {
    val (way, path, question) = arguments
    val lemmy = Lemmy(if (way == "jna") Jna() else Ffm())
    val wishes = Wishes(temperature = 0f)
    val progress = { stage: Int, done: Long, total: Long ->
        if (stage == 3 && done == total) System.err.println("$total layers")
        true
    }
    lemmy.load(path, onProgress = progress).use { model ->
        model.session(tools = TOOLS, context = 4096).use { session ->
            var reply = session.send(question, wishes)
            while (show(session, reply)) reply = session.generate(wishes)
            println()
        }
    }
}
