// Why this exists: who may do what, and what a namespace lets in, are part of what a chart and an operator are tested against.
using System.Text.Json.Nodes;

namespace CoCLR.TrialCluster.Tests;

public sealed class AccessTests : IAsyncLifetime
{
    private const string Rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    private Server _server = null!;
    private Api _api = null!;

    public async ValueTask InitializeAsync()
    {
        _server = await Server.StartAsync(new InProcessClusterOptions { RunPods = false }, needsControllers: true);
        _api = _server.Api;
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _server.DisposeAsync();
        }
    }

    private async Task<Api> Account(string rules)
    {
        await _api.Ok(
            _api.Post(
                "/api/v1/namespaces/default/serviceaccounts",
                Objects.Parse("""{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"bob"}}""")));
        await _api.Ok(
            _api.Post(
                Rbac + "/roles",
                Objects.Parse(
                    $$$$"""{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"r"},"rules":{{{{rules}}}}}""")));
        await _api.Ok(_api.Post(Rbac + "/rolebindings", Objects.Parse("""
            {"apiVersion":"rbac.authorization.k8s.io/v1","kind":"RoleBinding","metadata":{"name":"b"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"r"},
             "subjects":[{"kind":"ServiceAccount","name":"bob","namespace":"default"}]}
            """)));
        var issued = await _api.Ok(
            _api.Post(
                "/api/v1/namespaces/default/serviceaccounts/bob/token",
                Objects.Parse("""{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"expirationSeconds":3600}}""")));
        return _server.As(issued.Text("status", "token")!);
    }

    [Fact]
    public async Task ServiceAccount_MayDoWhatItsRolesSay()
    {
        using var bob = await Account("""[{"verbs":["get","list"],"apiGroups":[""],"resources":["configmaps"]},{"verbs":["update"],"apiGroups":[""],"resources":["configmaps"],"resourceNames":["mine"]}]""");
        await bob.Ok(bob.Get(Objects.ConfigMaps));
        var refused = await bob.Post(Objects.ConfigMaps, Objects.ConfigMap("a"));
        Assert.Equal((403, "configmaps is forbidden: User \"system:serviceaccount:default:bob\" cannot create resource \"configmaps\" in "
            + "API group \"\" in the namespace \"default\""), (refused.Code, refused.Message));
        Assert.Equal(403, (await bob.Get("/api/v1/namespaces/kube-system/configmaps")).Code);
        await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("mine")));
        await bob.Ok(bob.Put(Objects.ConfigMaps + "/mine", Objects.ConfigMap("mine", "2")));
        Assert.Equal(403, (await bob.Put(Objects.ConfigMaps + "/other", Objects.ConfigMap("other"))).Code);
        Assert.Equal(403, (await bob.Merge(Objects.ConfigMaps + "/mine", "{}")).Code);
    }

    [Fact]
    public async Task ServiceAccount_CannotHandOutWhatItDoesNotHold()
    {
        using var bob = await Account("""[{"verbs":["create"],"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles"]},{"verbs":["get"],"apiGroups":[""],"resources":["configmaps"]}]""");
        JsonObject Role(string name, string verb) =>
            Objects.Parse($$$$"""{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"{{{{name}}}}"},"rules":[{"verbs":["{{{{verb}}}}"],"apiGroups":[""],"resources":["configmaps"]}]}""");
        await bob.Ok(bob.Post(Rbac + "/roles", Role("same", "get")));
        var refused = await bob.Post(Rbac + "/roles", Role("more", "delete"));
        Assert.Equal(403, refused.Code);
        Assert.Contains("is attempting to grant RBAC permissions not currently held", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Token_IsGoodForItsAudienceOnly()
    {
        using var bob = await Account("[]");
        var request = Objects.Parse("""{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","spec":{"audiences":["coclr-ingest"],"expirationSeconds":600}}""");
        var issued = await _api.Ok(_api.Post("/api/v1/namespaces/default/serviceaccounts/bob/token", request));
        var token = issued.Text("status", "token")!;
        using var outsider = _server.As(token);
        Assert.Equal(401, (await outsider.Get(Objects.ConfigMaps)).Code);
        async Task<JsonNode> Review(string audience) => await _api.Ok(_api.Post("/apis/authentication.k8s.io/v1/tokenreviews",
            Objects.Parse($$$$"""{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview","spec":{"token":"{{{{token}}}}","audiences":["{{{{audience}}}}"]}}""")));
        Assert.Equal("system:serviceaccount:default:bob", (await Review("coclr-ingest")).Text("status", "user", "username"));
        Assert.NotEqual(true, (await Review("other")).Flag("status", "authenticated"));
    }

    [Fact]
    public async Task AccessReview_SaysWhatAnotherMayDo()
    {
        using var bob = await Account("""[{"verbs":["get"],"apiGroups":["batch"],"resources":["jobs"]}]""");
        async Task<bool?> May(string verb) => (await _api.Ok(_api.Post("/apis/authorization.k8s.io/v1/subjectaccessreviews", Objects.Parse($$$$"""
            {"apiVersion":"authorization.k8s.io/v1","kind":"SubjectAccessReview","spec":{"user":"system:serviceaccount:default:bob","resourceAttributes":{"namespace":"default","verb":"{{{{verb}}}}","group":"batch","resource":"jobs"}}}
            """)))).Flag("status", "allowed");
        await Objects.Until(async () => await May("get") == true, "the role has arrived");
        Assert.NotEqual(true, await May("delete"));
    }

    private static JsonObject Pod(string extra = "", string container = "", string name = "p") => Objects.Parse($$$$"""
        {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{{name}}}}"},"spec":{{{{{extra}}}}"containers":[{"name":"c","image":"i:1"{{{{container}}}}}]}}
        """);

    private const string HardPod = """ "securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}}, """;
    private const string HardContainer = ""","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"]}}""";

    [Fact]
    public async Task PodSecurity_Restricted_RefusesSoftPodsAndTakesHardOnes()
    {
        await _api.Ok(
            _api.Merge("/api/v1/namespaces/default", """{"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}}"""));
        await WaitForAccount();
        var refused = await _api.Post("/api/v1/namespaces/default/pods", Pod());
        Assert.Equal(403, refused.Code);
        Assert.Equal("pods \"p\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container "
            + "\"c\" must set securityContext.allowPrivilegeEscalation=false), "
            + "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod "
                + "or container \"c\" must set securityContext.runAsNonRoot=true), "
            + "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")",
            refused.Message);
        await _api.Ok(_api.Post("/api/v1/namespaces/default/pods", Pod(HardPod, HardContainer)));
    }

    private Task WaitForAccount() => Objects.Until(
        async () => (await _api.Get("/api/v1/namespaces/default/serviceaccounts/default")).Code == 200, "default service account");

    [Fact]
    public async Task Quota_CountsPodsAndGpus()
    {
        await WaitForAccount();
        await _api.Ok(_api.Post("/api/v1/namespaces/default/resourcequotas", Objects.Parse("""{"apiVersion":"v1","kind":"ResourceQuota","metadata":{"name":"q"},"spec":{"hard":{"requests.nvidia.com/gpu":"1"}}}""")));
        const string Gpu = ""","resources":{"limits":{"nvidia.com/gpu":1}}""";
        await _api.Ok(_api.Post("/api/v1/namespaces/default/pods", Pod("", Gpu, "one")));
        var refused = await _api.Post("/api/v1/namespaces/default/pods", Pod("", Gpu, "two"));
        Assert.Equal((403, "pods \"two\" is forbidden: exceeded quota: q, requested: requests.nvidia.com/gpu=1, used: "
            + "requests.nvidia.com/gpu=1, limited: requests.nvidia.com/gpu=1"), (refused.Code, refused.Message));
    }

    [Fact]
    public async Task Namespace_WhenDeleted_TakesNothingNewAndGoesWhenEmpty()
    {
        await _api.Ok(_api.Post("/api/v1/namespaces", Objects.Parse("""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"n"}}""")));
        var held = Objects.ConfigMap("held");
        held["metadata"]!["finalizers"] = new JsonArray("example.com/hold");
        await _api.Ok(_api.Post("/api/v1/namespaces/n/configmaps", held));
        await _api.Ok(_api.Delete("/api/v1/namespaces/n"));
        var refused = await _api.Post("/api/v1/namespaces/n/configmaps", Objects.ConfigMap("late"));
        Assert.Equal(
            (403, "configmaps \"late\" is forbidden: unable to create new content in namespace n because it is being terminated"),
            (refused.Code, refused.Message));
        Assert.Equal("NamespaceTerminating", refused.Body.Items("details", "causes")[0].Text("reason"));
        await _api.Ok(_api.JsonPatch("/api/v1/namespaces/n/configmaps/held", """[{"op":"remove","path":"/metadata/finalizers"}]"""));
        await Objects.Until(async () => (await _api.Get("/api/v1/namespaces/n")).Code == 404, "the namespace is gone");
    }

    [Theory]
    [InlineData("Background", false)]
    [InlineData("Foreground", false)]
    [InlineData("Orphan", true)]
    public async Task Deletion_OfAnOwner_FollowsThePolicy(string policy, bool survives)
    {
        var owner = await _api.Ok(_api.Post(Objects.ConfigMaps, Objects.ConfigMap("owner")));
        var child = Objects.ConfigMap("child");
        child["metadata"]!["ownerReferences"] = new JsonArray(
            new JsonObject
            {
                ["apiVersion"] = "v1", ["kind"] = "ConfigMap", ["name"] = "owner", ["uid"] = owner.Text("metadata", "uid"),
                ["blockOwnerDeletion"] = true
            });
        await _api.Ok(_api.Post(Objects.ConfigMaps, child));
        await _api.Ok(
            _api.Delete(
                Objects.ConfigMaps + "/owner",
                Objects.Parse($$$$"""{"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"{{{{policy}}}}"}""")));
        await Objects.Until(async () => (await _api.Get(Objects.ConfigMaps + "/owner")).Code == 404, "the owner is gone");
        await Objects.Until(
            async () => await _api.Get(Objects.ConfigMaps + "/child") is var c
                && (survives ? c.Code == 200 && c.Body.Items("metadata", "ownerReferences").Count == 0 : c.Code == 404),
            "the child follows");
    }

    [Fact]
    public async Task Child_OfAnOwnerThatNeverWas_IsCollected()
    {
        var child = Objects.ConfigMap("child");
        child["metadata"]!["ownerReferences"] = new JsonArray(
            new JsonObject
            {
                ["apiVersion"] = "v1", ["kind"] = "ConfigMap", ["name"] = "ghost", ["uid"] = "b0a4f0e4-0000-0000-0000-000000000000"
            });
        await _api.Ok(_api.Post(Objects.ConfigMaps, child));
        await Objects.Until(async () => (await _api.Get(Objects.ConfigMaps + "/child")).Code == 404, "the child is gone");
    }
}
