// Why this exists: a pod that is ending goes on reporting beside the one that replaces it; its numbers must not stand for the newest.
using CoCLR.Operator.Progress;
using CoCLR.Operator.Tests.Harness;

namespace CoCLR.Operator.Tests.Progress;

public sealed class ProgressStoreTests
{
    private readonly ProgressStore _store = new();

    [Fact]
    public void Put_LateReportOfAnOlderAttempt_IsNotTaken()
    {
        Put("""{"attempt":1,"epoch":7,"percent":70}""", seconds: 0);
        Put("""{"attempt":2,"epoch":5,"percent":50}""", seconds: 10);
        Put("""{"attempt":1,"epoch":8,"percent":80}""", seconds: 20);

        StageReport kept = _store.Of("uid")["pretrain-rgb"];
        Assert.Equal((2, 5, 50), (kept.Attempt, kept.Epoch, kept.Percent));
    }

    [Fact]
    public void Put_SameAttempt_TheNewestIsTakenAndKnowsWhenTheWorkLastMoved()
    {
        Put("""{"attempt":1,"epoch":7,"percent":70}""", seconds: 0);
        Put("""{"attempt":1,"epoch":7,"percent":70}""", seconds: 10);

        StageReport kept = _store.Of("uid")["pretrain-rgb"];
        Assert.Equal((Scene.Start.AddSeconds(10), Scene.Start), (kept.At, kept.MovedAt));
        Put("""{"attempt":1,"epoch":8,"percent":80}""", seconds: 20);
        Assert.Equal(Scene.Start.AddSeconds(20), _store.Of("uid")["pretrain-rgb"].MovedAt);
    }

    [Fact]
    public void Put_MoreStagesThanAnyPlanHas_AreBounded()
    {
        for (int i = 0; i < 100; i++)
        {
            _store.Put("uid", $"stage-{i}", StageReport.Read("{}", Scene.Start)!);
        }

        Assert.Equal(64, _store.Of("uid").Count);
        _store.Forget("uid");
        Assert.Empty(_store.Of("uid"));
    }

    private void Put(string json, int seconds) =>
        _store.Put("uid", "pretrain-rgb", StageReport.Read(json, Scene.Start.AddSeconds(seconds))!);
}
