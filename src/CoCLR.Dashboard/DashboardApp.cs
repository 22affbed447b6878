// Why this exists: puts the dashboard together, for the process and for tests alike.
using System.Text.Json.Serialization;
using CoCLR.Core;
using CoCLR.Dashboard.Api;
using CoCLR.Dashboard.Authentication;
using CoCLR.Dashboard.Cluster;
using CoCLR.Dashboard.Components;
using CoCLR.Dashboard.Configuration;
using CoCLR.Dashboard.Hosting;
using CoCLR.Dashboard.Ingest;
using CoCLR.Dashboard.Live;
using CoCLR.Dashboard.Storage;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.Extensions.Options;
using MudBlazor;
using MudBlazor.Services;

namespace CoCLR.Dashboard;

/// <summary>The application.</summary>
public static class DashboardApp
{
    private static readonly Dictionary<string, string> Switches = new()
    {
        ["--workdir"] = "Dashboard:WorkDir",
        ["--data"] = "Dashboard:DataDir",
        ["--path-base"] = "Dashboard:PathBase",
        ["--coclr"] = "Dashboard:CoclrCommand",
    };

    private static readonly string[] NotPages = ["/api/v1", "/hubs", "/_blazor", "/openapi", "/healthz"];

    /// <summary>Builds the application.</summary>
    /// <param name="args">Command line: <c>--workdir DIR --urls URL --data DIR --rebuild</c>, and every setting as <c>--Dashboard:Name value</c>.</param>
    /// <param name="configure">Changes services; for tests.</param>
    /// <exception cref="UserErrorException">A setting is wrong (exit 78).</exception>
    public static WebApplication Build(string[] args, Action<WebApplicationBuilder>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(args);
        string[] plain = [.. args.SelectMany(a => a == "--rebuild" ? ["--Dashboard:Rebuild=true"] : Switches.Keys.FirstOrDefault(s => a.StartsWith(s + "=", StringComparison.Ordinal)) is { } name ? [$"--{Switches[name]}={a[(name.Length + 1)..]}"] : Switches.TryGetValue(a, out string? key) ? [$"--{key}"] : new[] { a })];
        WebApplicationBuilder builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = plain, ContentRootPath = AppContext.BaseDirectory, ApplicationName = typeof(DashboardApp).Assembly.GetName().Name });
        builder.Configuration.AddEnvironmentVariables("COCLR_");
        builder.Configuration.AddCommandLine(plain);
        builder.WebHost.UseStaticWebAssets();
        builder.Logging.AddSimpleConsole(o => o.SingleLine = true);
        builder.Logging.AddFilter("Microsoft", LogLevel.Warning).AddFilter("System", LogLevel.Warning).AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error).AddFilter("Microsoft.AspNetCore.Antiforgery", LogLevel.Error).AddFilter("Microsoft.AspNetCore.SignalR.Internal.DefaultHubDispatcher", LogLevel.Critical);

        DashboardOptions options = builder.Configuration.GetSection(DashboardOptions.Section).Get<DashboardOptions>() ?? new DashboardOptions();
        string[] urls = (builder.Configuration["urls"] ?? "http://127.0.0.1:5180").Split(';', StringSplitOptions.RemoveEmptyEntries);
        builder.WebHost.UseUrls(urls);
        AuthenticationMode mode = DashboardOptionsValidator.Validate(options, urls);
        builder.Services.AddSingleton(Options.Create(options));
        builder.Services.AddSingleton(new BoundAddresses(urls));

        builder.WebHost.ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Limits.MaxRequestBodySize = Math.Max(options.Ingest.MaxArtifactBytes, options.Limits.MaxQueryVideoBytes);
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(10);
            kestrel.Limits.MaxConcurrentConnections = 5000;
        });

        AddServices(builder.Services, options);
        AddAuthentication(builder.Services, options, mode);
        configure?.Invoke(builder);

        WebApplication app = builder.Build();
        app.UseForwardedHeaders();
        if (options.PathBase.Length > 0)
        {
            app.UsePathBase(options.PathBase);
        }

        app.UseMiddleware<SecurityHeaders>();
        app.UseExceptionHandler("/error", createScopeForErrors: true);
        app.UseWhen(IsPage, pages => pages.UseStatusCodePagesWithReExecute("/not-found", createScopeForStatusCodePages: true));
        app.UseRouting();
        app.UseAuthentication();
        app.UseAuthorization();
        app.UseRateLimiter();
        app.UseAntiforgery();
        app.Use((context, next) => app.Services.GetRequiredService<CircuitLimit>().GuardAsync(context, next, IsPage));

        app.MapStaticAssets().AllowAnonymous();
        app.MapRazorComponents<App>().AddInteractiveServerRenderMode(o => o.ContentSecurityFrameAncestorsPolicy = null);
        app.MapHub<RunsHub>("/hubs/runs", o => o.ApplicationMaxBufferSize = o.TransportMaxBufferSize = 64 * 1024).RequireAuthorization(Policies.View);
        app.MapRuns();
        app.MapActions();
        app.MapIngest();
        app.MapSignIn(mode);
        app.MapOpenApi("/openapi/{documentName}.json").RequireAuthorization(Policies.View);
        app.MapGet("/healthz", (RunStore store) => store.Health.ReadOnly is null ? Results.Text("ok") : Results.Text("read-only", statusCode: StatusCodes.Status503ServiceUnavailable)).AllowAnonymous().ExcludeFromDescription();

        app.Lifetime.ApplicationStarted.Register(() => Announce(app, mode, options));
        return app;
    }

    private static void AddServices(IServiceCollection services, DashboardOptions options)
    {
        services.AddSingleton(TimeProvider.System);
        services.AddSingleton<LiveFeed>();
        services.AddSingleton<SettingsFile>();
        services.AddSingleton<RunStore>();
        services.AddSingleton<RunFolders>();
        services.AddHostedService(s => s.GetRequiredService<RunFolders>());
        services.AddSingleton<IngestFolders>();
        services.AddSingleton<LocalHost>();
        if (options.Cluster.Enabled)
        {
            services.AddSingleton<ClusterApi>().AddSingleton<ClusterWatch>().AddSingleton<ClusterHost>().AddSingleton<PodTokens>();
            services.AddHostedService(s => s.GetRequiredService<ClusterWatch>());
        }

        services.AddSingleton<QueryVideos>();
        services.AddSingleton<Suites>();
        services.AddSingleton<RunResults>();
        services.AddSingleton<Previews>();
        services.AddSingleton<CircuitLimit>();
        services.AddSingleton<Microsoft.AspNetCore.Components.Server.Circuits.CircuitHandler>(s => s.GetRequiredService<CircuitLimit>());
        services.AddMemoryCache(o => o.SizeLimit = 512 << 20);

        services.AddRazorComponents().AddInteractiveServerComponents(o =>
        {
            o.DetailedErrors = false;
            o.DisconnectedCircuitMaxRetained = 200;
            o.DisconnectedCircuitRetentionPeriod = TimeSpan.FromMinutes(5);
            o.MaxBufferedUnacknowledgedRenderBatches = 20;
        });
        services.AddSignalR(o =>
        {
            o.MaximumReceiveMessageSize = 64 * 1024;
            o.EnableDetailedErrors = false;
            o.MaximumParallelInvocationsPerClient = 8;
        }).AddJsonProtocol(o => o.PayloadSerializerOptions = new System.Text.Json.JsonSerializerOptions(CoclrJson.Compact));
        services.ConfigureHttpJsonOptions(o =>
        {
            o.SerializerOptions.Converters.Add(new JsonStringEnumConverter());
            o.SerializerOptions.NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals;
            o.SerializerOptions.DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull;
        });
        services.AddMudServices(o =>
        {
            o.SnackbarConfiguration.PositionClass = Defaults.Classes.Position.BottomRight;
            o.SnackbarConfiguration.ShowTransitionDuration = 120;
            o.SnackbarConfiguration.HideTransitionDuration = 120;
        });
        services.AddHttpContextAccessor();
        services.AddCascadingAuthenticationState();
        services.AddEndpointsApiExplorer();
        services.AddOpenApi("v1");
        services.AddRateLimiter(limiter => RateLimits.Add(limiter, options));
        services.AddAntiforgery(o =>
        {
            o.Cookie.Name = "coclr-antiforgery";
            o.Cookie.SameSite = SameSiteMode.Strict;
            o.HeaderName = "X-CSRF-TOKEN";
        });
        services.AddProblemDetails();
        services.Configure<ForwardedHeadersOptions>(o =>
        {
            o.ForwardedHeaders = ForwardedHeaders.XForwardedFor | ForwardedHeaders.XForwardedProto;
            foreach (string network in options.TrustedProxies)
            {
                o.KnownIPNetworks.Add(System.Net.IPNetwork.Parse(network));
            }
        });
        string keys = Path.Combine(options.ResolvedDataDir, "keys");
        Directory.CreateDirectory(keys);
        services.AddDataProtection().SetApplicationName("coclr-dashboard").PersistKeysToFileSystem(new DirectoryInfo(keys));
    }

    private static void AddAuthentication(IServiceCollection services, DashboardOptions options, AuthenticationMode mode)
    {
        services.AddSingleton<Tokens>();
        services.AddSingleton(new SignInMode(mode));
        services.AddScoped<Microsoft.AspNetCore.Components.Authorization.AuthenticationStateProvider, RevalidatingUser>();
        AuthenticationBuilder authentication = services.AddAuthentication(o =>
        {
            o.DefaultScheme = Policies.AnyScheme;
            o.DefaultChallengeScheme = Policies.AnyScheme;
        })
        .AddPolicyScheme(Policies.AnyScheme, null, o => o.ForwardDefaultSelector = c =>
            BearerHandler.TokenOf(c.Request) != null ? Policies.BearerScheme : mode == AuthenticationMode.Unsecured ? UnsecuredHandler.SchemeName : Policies.CookieScheme)
        .AddScheme<AuthenticationSchemeOptions, BearerHandler>(Policies.BearerScheme, null)
        .AddScheme<AuthenticationSchemeOptions, UnsecuredHandler>(UnsecuredHandler.SchemeName, null)
        .AddCookie(Policies.CookieScheme, o =>
        {
            o.Cookie.Name = "coclr-session";
            o.Cookie.HttpOnly = true;
            o.Cookie.SameSite = mode == AuthenticationMode.OpenIdConnect ? SameSiteMode.Lax : SameSiteMode.Strict;
            o.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest;
            o.ExpireTimeSpan = TimeSpan.FromHours(options.Authentication.SessionHours);
            o.SlidingExpiration = true;
            o.LoginPath = "/login";
            o.AccessDeniedPath = "/login";
            o.Events.OnRedirectToLogin = c => ToLogin(c, StatusCodes.Status401Unauthorized);
            o.Events.OnRedirectToAccessDenied = c => ToLogin(c, StatusCodes.Status403Forbidden);
            o.Events.OnValidatePrincipal = c =>
            {
                // A session that a link made ends when the token of the link changed its role or is no longer the way to sign in.
                if (c.Principal?.HasClaim(Policies.TokenClaim, "browser") == true && (mode is not (AuthenticationMode.BrowserToken or AuthenticationMode.Token) || !c.Principal.IsInRole(options.Authentication.TokenRole)))
                {
                    c.RejectPrincipal();
                }

                return Task.CompletedTask;
            };
        });
        if (mode == AuthenticationMode.OpenIdConnect)
        {
            authentication.AddOpenIdConnect(o => OidcSetup.Configure(o, options.Authentication.Oidc));
        }

        services.AddAuthorization(Policies.Add);
    }

    /// <summary>Whether a person's browser asks for a page, and not a script for data.</summary>
    private static bool IsPage(HttpContext context) => HttpMethods.IsGet(context.Request.Method) && !NotPages.Any(p => context.Request.Path.StartsWithSegments(p, StringComparison.OrdinalIgnoreCase));

    private static Task ToLogin(Microsoft.AspNetCore.Authentication.RedirectContext<Microsoft.AspNetCore.Authentication.Cookies.CookieAuthenticationOptions> context, int status)
    {
        // Pages lead to the sign-in; everything else gets its status.
        if (IsPage(context.HttpContext))
        {
            context.Response.Redirect(context.RedirectUri);
        }
        else
        {
            context.Response.StatusCode = status;
        }

        return Task.CompletedTask;
    }

    private static void Announce(WebApplication app, AuthenticationMode mode, DashboardOptions options)
    {
        foreach (string url in app.Urls)
        {
            string link = url.TrimEnd('/') + options.PathBase + (mode == AuthenticationMode.BrowserToken ? $"/login/link?t={app.Services.GetRequiredService<Tokens>().Browser}" : "/");
            Console.WriteLine($"Dashboard: {link}");
        }
    }
}

/// <summary>The way of signing in that is in force.</summary>
/// <param name="Mode">The way.</param>
public sealed record SignInMode(AuthenticationMode Mode);
