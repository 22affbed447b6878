// Why this exists: whatever comes from outside may be damaged or made to harm: every parser is fed mutated files, at least 100,000 a
// parser, and may answer with a value or with its documented error, never with another exception, and never by taking much more memory than
// it was given.
using System.Globalization;
using CsCheck;

namespace CoCLR.Engine.Tests.Fuzzing;

/// <summary>Mutates the files of `corpus/TARGET` and feeds them to a parser.</summary>
internal static class Fuzz
{
    private const long MostMemory = 64L << 20;

    /// <summary>Cases a target; COCLR_FUZZ_CASES asks for more.</summary>
    private static readonly long s_cases = Environment.GetEnvironmentVariable("COCLR_FUZZ_CASES") is { Length: > 0 } text
        ? long.Parse(text, CultureInfo.InvariantCulture) : 100_000;

    private static readonly byte[][] s_words =
    [
        .. new[]
        {
            "null", "-1", "0", "1e999", "NaN", "4294967296", "9223372036854775807", "{", "}", "[", "]", "\"", "\\u0000", ",", ":", "\n",
            "\r\n", "\t", "'", "%", "..", "/", "é", "&a", "*a", "!!", "|", "<<"
        }
            .Select(System.Text.Encoding.UTF8.GetBytes),
        [0], [0xff], [0xff, 0xff, 0xff, 0x7f], [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f], [0, 0, 0, 0, 0, 0, 0, 0x80], [0xc3, 0x28],
        [0xed, 0xa0, 0x80],
    ];

    /// <summary>Runs the cases.</summary>
    /// <param name="target">Folder of the corpus.</param>
    /// <param name="parse">Parses one file; every exception that leaves it is a fault.</param>
    public static void Run(string target, Action<byte[]> parse)
    {
        byte[][] corpus = [
            .. Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Fuzzing", "corpus", target)).Order(StringComparer.Ordinal)
                .Select(File.ReadAllBytes)];
        Assert.NotEmpty(corpus);
        foreach (byte[] seed in corpus)
        {
            parse(seed); // the corpus itself, among it what failed once
        }

        Gen<(int Kind, int At, int Length, int Word, int Other)> edit =
            Gen.Select(Gen.Int[0, 7], Gen.Int[0, 1 << 20], Gen.Int[1, 24], Gen.Int[0, s_words.Length - 1], Gen.Int[0, 1 << 20]);
        Gen.Select(Gen.Int[0, corpus.Length - 1], edit.Array[1, 6]).Sample(
            (seed, edits) =>
            {
                byte[] bytes = edits.Aggregate(corpus[seed], (before, e) => Mutate(before, e, corpus));
                long allocated = GC.GetAllocatedBytesForCurrentThread();
                parse(bytes);
                Assert.True(
                    GC.GetAllocatedBytesForCurrentThread() - allocated < MostMemory,
                    $"{bytes.Length} bytes took more than {MostMemory >> 20} MiB");
            },
            iter: s_cases,
            print: c => Convert.ToHexString(c.Item2.Aggregate(corpus[c.Item1], (before, e) => Mutate(before, e, corpus))));
    }

    private static byte[] Mutate(byte[] bytes, (int Kind, int At, int Length, int Word, int Other) edit, byte[][] corpus)
    {
        int at = bytes.Length == 0 ? 0 : edit.At % bytes.Length;
        int end = Math.Min(bytes.Length, at + edit.Length);
        byte[] word = s_words[edit.Word];
        switch (edit.Kind)
        {
            case 0 when bytes.Length > 0:
                byte[] flipped = [.. bytes];
                flipped[at] ^= (byte)(1 << (edit.Other % 8));
                return flipped;
            case 1 when bytes.Length > 0:
                byte[] replaced = [.. bytes];
                replaced[at] = (byte)edit.Other;
                return replaced;
            case 2:
                return [.. bytes.AsSpan(0, at), .. bytes.AsSpan(end)];
            case 3:
                return [.. bytes.AsSpan(0, end), .. bytes.AsSpan(at)];
            case 4:
                return [.. bytes.AsSpan(0, at), .. word, .. bytes.AsSpan(at)];
            case 5:
                return [.. bytes.AsSpan(0, at), .. word, .. bytes.AsSpan(Math.Min(bytes.Length, at + word.Length))];
            case 6:
                return bytes[..at];
            default:
                byte[] other = corpus[edit.Other % corpus.Length];
                return [.. bytes.AsSpan(0, at), .. other.AsSpan(Math.Min(other.Length, edit.Other % (other.Length + 1)))];
        }
    }
}
