// Why this exists: plain lines to people; results to stdout, everything else to stderr.
using CoCLR.Core;
using System.Text.Json;

namespace CoCLR.Cli.Terminal;

internal static class Say
{
    /// <summary>Whether a person is watching a terminal that can redraw lines.</summary>
    public static bool Interactive { get; } = !Console.IsOutputRedirected && !Console.IsErrorRedirected
        && Environment.GetEnvironmentVariable("TERM") is not (null or "dumb");

    public static void Error(string message) => Console.Error.WriteLine($"coclr: {message}");

    public static void Note(string message) => Console.Error.WriteLine(message);

    public static void Json<T>(T value) => Console.WriteLine(JsonSerializer.Serialize(value, CoclrJson.Indented));
}
