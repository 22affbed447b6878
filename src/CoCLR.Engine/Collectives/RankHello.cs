// Why this exists: ranks of another program, run or version must be told apart before a single tensor is exchanged.
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using CoCLR.Core;

namespace CoCLR.Engine.Collectives;

/// <summary>What a rank says first, on each of its two connections: one line of JSON.</summary>
/// <param name="Program">Always <see cref="ProgramName"/>.</param>
/// <param name="Build">Build of the engine: ranks of another would compute something else.</param>
/// <param name="Work">Run, stage and what they compute.</param>
/// <param name="Rank">Number of the rank.</param>
/// <param name="World">How many it expects.</param>
/// <param name="Channel">tensors or watch.</param>
/// <param name="Library">Version of the library that moves tensors between GPUs; empty without.</param>
internal sealed record RankHello(string Program, string Build, string Work, int Rank, int World, string Channel, string Library)
{
    public const string ProgramName = "coclr-rank-1";
    public const string TensorChannel = "tensors";
    public const string WatchChannel = "watch";
    private const int LongestLine = 4096;

    /// <summary>This build of the engine.</summary>
    public static string ThisBuild { get; } =
        $"{typeof(RankHello).Assembly.GetName().Version?.ToString(3)} ({typeof(RankHello).Module.ModuleVersionId:N})";

    /// <summary>What is wrong with a rank that means to take part, or null.</summary>
    /// <param name="expected">What rank 0 would say.</param>
    public string? Objection(RankHello expected) =>
        Build != expected.Build ? $"Rank {Rank} runs version {Build}, rank 0 runs {expected.Build}: install the same everywhere."
        : Library != expected.Library ? $"Rank {Rank} has {Named(Library)}, rank 0 has {Named(expected.Library)}: install the same everywhere."
        : World != expected.World || Rank < 1 || Rank >= expected.World
            ? $"Rank {Rank} of {World} came to rank 0 of {expected.World}: start all with the same --world."
        : null;

    private static string Named(string library) => library.Length == 0 ? "no NCCL" : library;

    /// <summary>Sends one line.</summary>
    public static void Send(Socket socket, object line) =>
        socket.Send(Encoding.UTF8.GetBytes(JsonSerializer.Serialize(line, CoclrJson.Compact) + "\n"));

    /// <summary>Reads one line, byte by byte: what follows it is not JSON.</summary>
    /// <returns>Null where it is none, or of something else.</returns>
    public static T? Receive<T>(Socket socket)
        where T : class
    {
        var line = new List<byte>();
        Span<byte> one = stackalloc byte[1];
        while (line.Count < LongestLine && socket.Receive(one) == 1)
        {
            if (one[0] == '\n')
            {
                try
                {
                    return JsonSerializer.Deserialize<T>(line.ToArray(), CoclrJson.Compact);
                }
                catch (JsonException)
                {
                    return null;
                }
            }

            line.Add(one[0]);
        }

        return null;
    }
}

/// <summary>Rank 0's answer: a sentence and an exit code where a rank may not take part.</summary>
/// <param name="Refusal">The sentence; null where it may.</param>
/// <param name="ExitCode">Exit code of the rank.</param>
internal sealed record RankAnswer(string? Refusal, int ExitCode);
