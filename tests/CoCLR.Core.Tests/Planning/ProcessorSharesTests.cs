// Why this exists: who may learn beside whom on one machine, and with how many processors, decides both the time and the numbers of a run.
using CoCLR.Core.Manifests;
using CoCLR.Core.Planning;

namespace CoCLR.Core.Tests.Planning;

public sealed class ProcessorSharesTests
{
    [Theory]
    [InlineData(Method.InfoNCE, 8, "pretrain-rgb", 4)]
    [InlineData(Method.InfoNCE, 8, "pretrain-flow", 4)]
    [InlineData(Method.InfoNCE, 1, "pretrain-flow", 1)]
    [InlineData(Method.InfoNCE, 8, "probe-rgb", 8)]
    [InlineData(Method.InfoNCE, 8, "decode", 8)]
    [InlineData(Method.CoCLR, 2, "pretrain-rgb", 1)]
    [InlineData(Method.CoCLR, 2, "cycle-1-rgb", 2)]
    [InlineData(Method.CoCLR, 2, "cycle-1-flow", 2)]
    public void Of_Plan_DividesAmongStagesThatDoNotWaitForOneAnother(Method method, int processors, string stage, int share)
    {
        StagePlan plan = Planner.Plan("e", new ExperimentSpec
        {
            Dataset = new DatasetSpec { Source = new DatasetSource { Synthetic = new SyntheticSource() } },
            Training = new TrainingSpec { Method = method },
        });
        Assert.Equal(share, ProcessorShares.Of(plan, processors)[stage]);
    }
}
