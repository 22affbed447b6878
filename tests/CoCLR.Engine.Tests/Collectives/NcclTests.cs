// Why this exists: several GPUs are rare where this is developed; a library with NCCL's interface shows that it is called as it wants to
// be, and that a lost rank ends a wait.
using System.Diagnostics;
using CoCLR.Core;
using CoCLR.Engine.Collectives;
using CoCLR.Engine.Tests.Video;
using static TorchSharp.torch;

namespace CoCLR.Engine.Tests.Collectives;

public sealed class NcclTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    private string Log => Path.Combine(_folder.Path, "calls");

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Operations_GoThroughNccl_InItsOrder_OnAStreamOfItsOwn()
    {
        Assert.Empty(Run(2, Load(), ranks =>
        {
            using Tensor sum = tensor(new[] { 1f, 10f }) * (ranks.Rank + 1);
            ranks.AllReduceSum(sum);
            Assert.Equal([3f, 30f], sum.data<float>().ToArray());
            using Tensor own = full([1, 2], ranks.Rank + 0.5, ScalarType.Float64);
            using Tensor all = ranks.AllGather(own);
            Assert.Equal([0.5, 0.5, 1.5, 1.5], all.data<double>().ToArray());
            using Tensor told = full([3], (long)ranks.Rank + 5, ScalarType.Int64);
            ranks.Broadcast(told);
            Assert.Equal([5L, 5L, 5L], told.data<long>().ToArray());
            Assert.Equal("NCCL 2.21.5", ranks.Transport.Split(" (")[0]);
            Assert.True(ranks.Use.Bytes > 0);
        }));
        string[] calls = File.ReadAllLines(Log);
        Assert.Equal(
            ["ncclCommInitRankConfig", "ncclAllReduce", "ncclAllGather", "ncclBroadcast", "ncclCommFinalize", "ncclCommDestroy"],
            calls.Where(c => c.StartsWith("1 ", StringComparison.Ordinal)).Select(c => c[2..]));
        Assert.Single(calls, "0 ncclGetUniqueId");
        Assert.Equal((6, 6), (calls.Count(c => c == "-1 own stream waits"), calls.Count(c => c == "-1 default stream waits")));
    }

    [Fact]
    public void LostRank_AbortsTheCommunicator_AndEndsTheWait()
    {
        List<Exception> errors = Run(2, Load(), ranks =>
        {
            using Tensor x = ones(4);
            if (ranks.Rank == 1)
            {
                ranks.Abort("it has seen enough.");
                return;
            }

            ranks.AllReduceSum(x);
        });
        Assert.Contains("Rank 1 of 2 has given up: it has seen enough", Assert.IsType<RankLostException>(Assert.Single(errors)).Message, StringComparison.Ordinal);
        string[] calls = File.ReadAllLines(Log);
        Assert.Single(calls, "0 ncclCommAbort");
        Assert.DoesNotContain("0 ncclCommDestroy", calls);
    }

    [Fact]
    public void FailingCall_IsToldInWords_OnEveryRank()
    {
        List<Exception> errors = Run(2, Load("-DFAILS"), ranks =>
        {
            using Tensor x = ones(4);
            ranks.AllReduceSum(x);
        });
        Assert.Equal(2, errors.Count);
        Assert.All(errors, e => Assert.Contains("ncclAllReduce: unhandled system error", e.Message, StringComparison.Ordinal));
        Assert.All(errors, e => Assert.Equal(ExitCodes.Failed, Assert.IsAssignableFrom<UserErrorException>(e).ExitCode));
    }

    [Fact]
    public void OldLibrary_OrNone_IsRefused()
    {
        var old = Assert.Throws<UserErrorException>(() => Load("-DNCCL_STUB_VERSION=21201"));
        Assert.Equal(ExitCodes.BadConfiguration, old.ExitCode);
        Assert.Contains("is NCCL 2.12.1; 2.14 or later is needed", old.Message, StringComparison.Ordinal);
        var none = Assert.Throws<UserErrorException>(() => Nccl.Load(_folder.File("nowhere")));
        Assert.Contains(Nccl.Variable, none.Message, StringComparison.Ordinal);
    }

    private Nccl Load(params string[] flags)
    {
        string folder = Path.Combine(_folder.Path, $"nccl{flags.Length}");
        Directory.CreateDirectory(folder);
        string source = Path.Combine(AppContext.BaseDirectory, "Collectives", "nccl-stub.c");
        foreach (string name in new[] { "libnccl.so.2", "libcudart.so.12" })
        {
            try
            {
                using Process compiler = Process.Start(new ProcessStartInfo("cc", ["-shared", "-fPIC", "-pthread", $"-DLOG=\"{Log}\"", .. flags, source, "-o", Path.Combine(folder, name)]) { RedirectStandardError = true })!;
                string said = compiler.StandardError.ReadToEnd();
                compiler.WaitForExit();
                Assert.True(compiler.ExitCode == 0, said);
            }
            catch (System.ComponentModel.Win32Exception)
            {
                Assert.Skip("no C compiler (cc) to build the library with");
            }
        }

        return Nccl.Load(folder);
    }

    /// <summary>To the stub, the processor is the device.</summary>
    private static List<Exception> Run(int world, Nccl nccl, Action<ICollective> body) =>
        RankThreads.Run(world, options => NcclCollective.Create(nccl, TcpCollective.Meet(options, "test", nccl.Name, end: () => { }), CPU), body);
}
