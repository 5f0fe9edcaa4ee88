import LemmyKit

/// Asks a model something and shows the answer while it comes: `lemmy-ask MODEL.gguf "Why is the sky blue?"`
@main
struct Ask {
    static func main() async throws {
        guard CommandLine.arguments.count == 3 else {
            print("usage: lemmy-ask MODEL.gguf QUESTION")
            return
        }
        let session = try Model(path: CommandLine.arguments[1]).session()
        for try await event in session.send(CommandLine.arguments[2], Wishes(temperature: 0)) {
            if case .text(let text) = event { print(text, terminator: "") }
        }
        print()
    }
}
