export default { name: "Experiments", template: `<section class="page"></section>` };
