// Why this exists: `coclr bench retrieval` measures exact search at the size named in docs/benchmarks.md; no test is timed.
using System.Diagnostics;
using System.Runtime.Intrinsics;
using System.Text.Json;
using CoCLR.Engine.Features;

namespace CoCLR.Benchmarks.Retrieval;

/// <summary>Exact top-k search among many features: latency of one query, throughput in batches.</summary>
public static class RetrievalBench
{
    /// <summary>Measures and prints one line of JSON.</summary>
    /// <param name="arguments">`--n 100000 --d 1024 --k 50 --batch 64 --rounds 9 --threads 2`, each optional.</param>
    public static void Run(string[] arguments)
    {
        int Option(string name, int fallback) =>
            Array.IndexOf(arguments, "--" + name) is var i && i >= 0 ? int.Parse(arguments[i + 1]) : fallback;
        var (n, d, k) = (Option("n", 100_000), Option("d", 1024), Option("k", 50));
        var (batch, rounds, threads) = (Option("batch", 64), Option("rounds", 9), Option("threads", Environment.ProcessorCount));

        var gallery = UnitVectors(n, d, 1);
        var queries = UnitVectors(batch, d, 2);
        var watch = Stopwatch.StartNew();
        using var search = new ExactSearch(gallery, d, threads);
        var prepare = watch.Elapsed.TotalMilliseconds;
        var one = new double[rounds];
        var many = new double[rounds];
        for (var round = -1; round < rounds; round++)
        {
            // The two are taken in turns, so that a busy moment of the machine touches both.
            watch.Restart();
            search.Search(queries.AsSpan((round + 1) % batch * d, d), k);
            var single = watch.Elapsed.TotalMilliseconds;
            watch.Restart();
            search.Search(queries, k);
            if (round >= 0)
            {
                one[round] = single;
                many[round] = watch.Elapsed.TotalMilliseconds;
            }
        }

        Array.Sort(one);
        Array.Sort(many);
        Console.WriteLine(JsonSerializer.Serialize(new
        {
            n,
            d,
            k,
            batch,
            threads,
            rounds,
            vector512 = Vector512.IsHardwareAccelerated,
            prepareMs = Math.Round(prepare, 1),
            oneQueryMedianMs = Math.Round(one[rounds / 2], 2),
            oneQueryBestMs = Math.Round(one[0], 2),
            oneQueryWorstMs = Math.Round(one[^1], 2),
            queriesPerSecondMedian = Math.Round(batch * 1000 / many[rounds / 2], 1),
            queriesPerSecondBest = Math.Round(batch * 1000 / many[0], 1),
        }));
    }

    private static float[] UnitVectors(int count, int dimension, int seed)
    {
        var random = new Random(seed);
        var values = new float[count * dimension];
        for (var i = 0; i < values.Length; i++)
        {
            // The sum of four uniform numbers is close enough to a normal one and quick to make.
            values[i] = random.NextSingle() + random.NextSingle() + random.NextSingle() + random.NextSingle() - 2;
        }

        for (var row = 0; row < count; row++)
        {
            FeatureSet.Normalize(values.AsSpan(row * dimension, dimension));
        }

        return values;
    }
}
