export default { name: "Schedule", template: `<section class="page"></section>` };
