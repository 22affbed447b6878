// Why this exists: whatever moves the tensors, every rank must get the same bits, in the order that one process would add them up, and
// none may wait for a rank that is gone.
using CoCLR.Core;
using CoCLR.Engine.Collectives;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Collectives;

public sealed class CollectiveTests
{
    [Theory]
    [InlineData("memory", 1)]
    [InlineData("memory", 4)]
    [InlineData("tcp", 2)]
    [InlineData("tcp", 4)]
    [InlineData("tcp", 5)]
    public void Operations_GiveEveryRankTheSame_SumsInABinaryTree(string kind, int world)
    {
        Tensor[] parts = [.. Enumerable.Range(0, world).Select(Part)];
        float[] expected = Tree(parts.Select(p => p.data<float>().ToArray()).ToArray());
        Run(kind, world, ranks =>
        {
            using var scope = NewDisposeScope();
            using Tensor sum = Part(ranks.Rank);
            ranks.AllReduceSum(sum);
            Assert.Equal(expected, sum.data<float>().ToArray());

            using Tensor gathered = ranks.AllGather(full([2, 3], (long)ranks.Rank, ScalarType.Int64));
            Assert.Equal([2L * world, 3], gathered.shape);
            Assert.Equal(Enumerable.Range(0, world).SelectMany(r => Enumerable.Repeat((long)r, 6)), gathered.data<long>().ToArray());

            using Tensor told = full([5], ranks.Rank + 7.0, ScalarType.Float64);
            ranks.Broadcast(told);
            Assert.All(told.data<double>().ToArray(), v => Assert.Equal(7, v));
            ranks.Barrier();
            Assert.True(ranks.Any(ranks.Rank == world - 1));
            Assert.False(ranks.Any(false));
            ranks.RequireSame(11, "a number");
            Assert.True(ranks.Use.Bytes > 0);
        });

        static Tensor Part(int rank)
        {
            using var generator = new Generator((ulong)rank + 1);
            return randn([1000], generator: generator) * Math.Pow(10, rank % 3);
        }
    }

    [Theory]
    [InlineData("memory")]
    [InlineData("tcp")]
    public void RankThatDiffers_IsNamedOnAllRanks(string kind) => Run(kind, 3, ranks =>
        Assert.Contains("Rank 2 of 3 has weights other than rank 0", Assert.Throws<UserErrorException>(() => ranks.RequireSame(ranks.Rank == 2 ? 1u : 0u, "weights")).Message, StringComparison.Ordinal));

    [Theory]
    [InlineData("memory")]
    [InlineData("tcp")]
    public void RankThatGivesUp_EndsTheOthersWithItsWords(string kind) => Run(kind, 3, ranks =>
    {
        if (ranks.Rank == 1)
        {
            ranks.Abort("its disk is full.");
            return;
        }

        Assert.Contains("Rank 1 of 3 has given up: its disk is full", Assert.Throws<RankLostException>(ranks.Barrier).Message, StringComparison.Ordinal);
    });

    [Theory]
    [InlineData("memory")]
    [InlineData("tcp")]
    public void RankThatEndsEarly_EndsTheOthers(string kind) => Run(kind, 3, ranks =>
    {
        ranks.Barrier();
        if (ranks.Rank != 2)
        {
            Assert.Contains("Rank 2 of 3 has ended", Assert.Throws<RankLostException>(ranks.Barrier).Message, StringComparison.Ordinal);
        }
    });

    [Fact]
    public void RanksThatDoDifferentThings_AreToldApart() => Run("tcp", 2, ranks =>
    {
        using Tensor x = ones(4);
        string message = Assert.Throws<RankLostException>(() =>
        {
            if (ranks.Rank == 0)
            {
                ranks.AllReduceSum(x); // rank 1 has skipped a step
            }

            ranks.Barrier();
        }).Message;
        Assert.Contains("no longer do the same", message, StringComparison.Ordinal);
    });

    [Fact]
    public void ProcessThatDoesNotNoticeALostRank_IsEnded()
    {
        int port = Ranks.FreePort();
        using var ended = new ManualResetEventSlim();
        var threads = new List<Thread>();
        for (int rank = 0; rank < 2; rank++)
        {
            var options = new RankOptions { Rank = rank, World = 2, MasterPort = port };
            var thread = new Thread(() =>
            {
                TcpCollective own = TcpCollective.Meet(options, "test", end: ended.Set);
                if (options.Rank == 1)
                {
                    own.Abort("it has to.");
                }

                ended.Wait(); // computes on and on
                own.Dispose();
            });
            threads.Add(thread);
            thread.Start();
        }

        Assert.True(ended.Wait(TimeSpan.FromMinutes(2), TestContext.Current.CancellationToken));
        threads.ForEach(t => t.Join());
    }

    [Theory]
    [InlineData("4", null, null, "RANK")]
    [InlineData("4", "4", "29500", "rank 4 of 4 is not possible")]
    [InlineData("4", "1", null, "MASTER_PORT")]
    [InlineData("many", "1", "29500", "WORLD_SIZE: 'many'")]
    [InlineData("2", "1", "70000", "MASTER_PORT: '70000'")]
    public void Environment_ThatIsNotPossible_IsRefused(string world, string? rank, string? port, string sentence)
    {
        var variables = new Dictionary<string, string?> { ["WORLD_SIZE"] = world, ["RANK"] = rank, ["MASTER_PORT"] = port };
        UserErrorException e = Assert.Throws<UserErrorException>(() => RankOptions.From(variables.GetValueOrDefault));
        Assert.Equal(ExitCodes.Usage, e.ExitCode);
        Assert.Contains(sentence, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("auto", 1, 0, 4, "auto")]
    [InlineData("cpu", 4, 1, 4, "cpu")]
    [InlineData("auto", 4, 1, 0, "auto")]
    [InlineData("auto", 4, 3, 4, "cuda:3")]
    [InlineData("cuda", 2, 1, 2, "cuda:1")]
    [InlineData("auto", 4, 2, 2, null)]
    public void DeviceOf_TakesTheGpuOfTheRanksNumber(string device, int world, int rank, int gpus, string? expected)
    {
        var options = new RankOptions { Rank = rank, World = world, LocalRank = rank };
        if (expected is null)
        {
            Assert.Contains("has 2 GPUs", Assert.Throws<UserErrorException>(() => Ranks.DeviceOf(device, options, gpus)).Message, StringComparison.Ordinal);
        }
        else
        {
            Assert.Equal(expected, Ranks.DeviceOf(device, options, gpus));
        }
    }

    private static void Run(string kind, int world, Action<ICollective> body)
    {
        InProcessCollective[] memory = InProcessCollective.Create(world);
        Assert.Empty(RankThreads.Run(world, options => kind == "memory" ? memory[options.Rank] : TcpCollective.Meet(options, "test", end: () => { }), body));
    }

    /// <summary>(0 + 1) + (2 + 3), and what is left over after that.</summary>
    private static float[] Tree(float[][] parts)
    {
        List<float[]> level = [.. parts];
        while (level.Count > 1)
        {
            level = [.. level.Chunk(2).Select(pair => pair.Length == 1 ? pair[0] : [.. pair[0].Zip(pair[1], (a, b) => a + b)])];
        }

        return level[0];
    }
}
